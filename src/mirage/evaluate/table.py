"""Tidy tables on disk."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mirage.files import atomic_path

TEXT, NUMBER, COUNT, FLAG = pa.string(), pa.float64(), pa.int64(), pa.bool_()

COLUMNS: dict[str, pa.DataType] = {
    "evaluation": TEXT,
    "arm": TEXT,
    "seed": COUNT,
    "fold": COUNT,
    "subject_id": TEXT,
    "item_id": TEXT,
    "metric": TEXT,
    "label": TEXT,
    "value": NUMBER,
}
"""Columns of every ``metrics.parquet``; NaN is stored as null."""


def write_table(path: Path, table: pd.DataFrame, columns: dict[str, pa.DataType]) -> None:
    """Write the named columns of a table as Parquet, atomically; a column that is missing is null."""
    schema = pa.schema(list(columns.items()))
    arrow = pa.Table.from_pandas(table.reindex(columns=list(columns)), schema=schema, preserve_index=False)
    with atomic_path(path) as temporary:
        pq.write_table(arrow, temporary)
