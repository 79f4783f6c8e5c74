"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of small real datasets that lies beside a development checkout; never part of the project."""
    if not SHARED.is_dir():
        pytest.skip("needs the real sample data in ../shared/data")
    return SHARED
