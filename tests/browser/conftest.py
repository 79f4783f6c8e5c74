"""The browser of the test session."""

from __future__ import annotations

import pytest

from browser.chromium import NoBrowserError, install


@pytest.fixture(scope="session")
def program() -> str:
    """Path of Chromium."""
    try:
        return install()
    except NoBrowserError as reason:
        pytest.skip(str(reason))
