"""MESSIDOR: 1200 fundus photographs graded for retinopathy (Decenciere et al., Image Anal Stereol 33, 2014).

Folders `Base11` ... `Base34` of TIFF files; the grades of a folder are in `Annotation_Base11.xls`, in the
folder or beside it (a `.csv` of the same columns is read too). A folder without its table is
read with unknown grades. No patient ids are published, so every photograph is a subject of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirage.config.datasets import MessidorSource
from mirage.errors import LayoutError
from mirage.sources.base import RawImage, Source, SourceItem
from mirage.sources.layout import namespace_of, no_items, require_directories, visible_names

if TYPE_CHECKING:
    import pandas as pd

OBTAIN = "https://www.adcis.net/en/third-party/messidor (free registration)"
COLUMNS = {
    "ophthalmologic department": "department",
    "retinopathy grade": "retinopathy_grade",
    "risk of macular edema": "macular_edema_risk",
}
"""Column of the table, lower case -> attribute."""


class Messidor(Source):
    """Reader of MESSIDOR's native layout."""

    modality = "colour fundus photography"

    def __init__(self, options: MessidorSource, folder: Path | None = None) -> None:
        self.root = Path(options.path) if folder is None else folder
        self.channel_names = ["red", "green", "blue"]
        self.labels: dict[int, str] = {}
        self.mask_channels: list[str] = []
        self._namespace = namespace_of("messidor", folder)

    @property
    def namespace(self) -> str:
        """``messidor``, or the folder of simulated data."""
        return self._namespace

    def check_layout(self) -> None:
        """Check for at least one folder ``Base...``."""
        require_directories(self.root, [], "MESSIDOR", OBTAIN)
        if not self._bases():
            raise LayoutError(
                f"MESSIDOR: {self.root} has no folder such as Base11. Get the data from {OBTAIN}, unpack "
                "each Base archive into a folder of its name there, or set `source.path` to where they are"
            )

    def items(self) -> Iterator[SourceItem]:
        """Photographs by folder and name; every ``.tif`` is one."""
        found = False
        for base in self._bases():
            grades = self._grades(base)
            for name in visible_names(self.root / base):
                if name.lower().endswith((".tif", ".tiff")):
                    found = True
                    yield self._item(base, name, grades)
        if not found:
            raise no_items("MESSIDOR", self.root, "Base11/20051020_43808_0100_PP.tif")

    def _bases(self) -> list[str]:
        return [
            name
            for name in visible_names(self.root)
            if re.fullmatch(r"[Bb]ase\d+", name) and (self.root / name).is_dir()
        ]

    def _item(self, base: str, name: str, grades: dict[str, dict[str, Any]]) -> SourceItem:
        stem = Path(name).stem
        unknown = dict.fromkeys(COLUMNS.values())
        return SourceItem(
            item_id=f"{base}/{stem}",
            subject_id=stem,
            attributes={"file": f"{base}/{name}", "base": base, **grades.get(name.lower(), unknown)},
            load=partial(self._load, self.root / base / name),
        )

    @staticmethod
    def _load(path: Path) -> RawImage:
        from mirage.sources.images import read_image

        return read_image(path, "rgb")

    def _grades(self, base: str) -> dict[str, dict[str, Any]]:
        """Image name, lower case -> attributes; empty without a table."""
        for folder in (self.root / base, self.root):
            for name in visible_names(folder):
                if re.fullmatch(rf"annotation[_ ]*{base}\.(xls|csv)", name, re.IGNORECASE):
                    return _read_grades(folder / name)
        return {}


def _read_grades(path: Path) -> dict[str, dict[str, Any]]:
    try:
        table = _read_table(path)
    except Exception as error:  # readers of damaged workbooks raise anything
        raise LayoutError(f"{path}: not a readable table ({type(error).__name__}: {error})") from error
    table.columns = [str(column).strip().lower() for column in table.columns]
    missing = {"image name", *COLUMNS} - set(table.columns)
    if missing:
        raise LayoutError(
            f"{path}: has no column {sorted(missing)}; found {list(table.columns)}. "
            f"Get the table from {OBTAIN}"
        )
    grades = {}
    for row in table.to_dict("records"):
        values = {attribute: _plain(row[column]) for column, attribute in COLUMNS.items()}
        grades[str(row["image name"]).strip().lower()] = values
    return grades


def _read_table(path: Path) -> pd.DataFrame:
    import pandas as pd

    if path.suffix.lower() == ".csv":
        return pd.read_csv(path)
    import xlrd

    sheet = xlrd.open_workbook(str(path)).sheet_by_index(0)
    header, *lines = [sheet.row_values(row) for row in range(sheet.nrows)]
    return pd.DataFrame(lines, columns=header)


def _plain(value: Any) -> Any:
    """A cell as str, int or None."""
    if value is None or value != value:
        return None
    return value.strip() if isinstance(value, str) else int(value)
