"""Feature banks of toy datasets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from mirage.config.base import Runtime
from mirage.config.encoders import EncoderConfig
from mirage.data import Dataset
from mirage.evaluate.features.bank import FeatureBank
from mirage.evaluate.features.jobs import extract_features, fit_encoder

CPU = Runtime(accelerator="cpu")


def bank_of(
    folder: Path, encoders: Sequence[str], real: tuple[str, Dataset], *others: tuple[str, Dataset]
) -> FeatureBank:
    """Features of a real dataset, on which encoders are fitted, and of others, by their names."""
    files = []
    for encoder in encoders:
        entry: Any = TypeAdapter(EncoderConfig).validate_python({"encoder": encoder})
        fitted, tables = folder / "encoders" / encoder, folder / "features" / encoder
        fit_encoder(entry, real[1].folder, fitted, tables / f"{real[0]}.parquet", runtime=CPU)
        for name, data in others:
            extract_features(fitted, data.folder, tables / f"{name}.parquet", runtime=CPU)
        files += [tables / f"{name}.parquet" for name, _ in (real, *others)]
    return FeatureBank(files)
