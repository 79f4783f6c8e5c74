"""CT nodule patches of NODE21's generation baseline (Sogancioglu et al., IEEE TMI 2024).

Cubes of 50 mm in voxels of 1 mm around the nodules of LUNA16, each with a mask of its nodule. They are what
the baseline projects into radiographs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from mirage.errors import DataError, LayoutError
from mirage.sources.base import RawImage, SourceItem
from mirage.sources.ct_nodules import CtNodules, absent
from mirage.sources.layout import no_items, require_directories
from mirage.sources.rows import read_rows

OBTAIN = "github.com/node21challenge/node21_generation_baseline"
TABLE = "ct_nodules.csv"
FOLDER = "nodule_patches"
NAME = re.compile(r"(.+)_dcm_(\d+)\.mha")


class Node21CtNodules(CtNodules):
    """Reader of the baseline's table and patches; the patches of a scan are one subject."""

    def check_layout(self) -> None:
        """Check for the patches and their table."""
        require_directories(self.root, [FOLDER], "NODE21 CT nodules", OBTAIN)
        if not (self.root / TABLE).is_file():
            raise LayoutError(
                f"NODE21 CT nodules: {self.root / TABLE} is missing; expected it beside {FOLDER}, with the "
                f"columns img_name and diameter. Get it from {OBTAIN}"
            )

    def items(self) -> Iterator[SourceItem]:
        """Patches in the order of the table.

        Raises:
            LayoutError: none of those it lists is there.
            DataError: a row that names no patch, or one twice.
        """
        patients, table = self.patients(), self.root / TABLE
        seen: set[str] = set()
        found = False
        for row in read_rows(table, ["img_name", "diameter"]):
            name, match = row["img_name"], NAME.fullmatch(row["img_name"])
            if match is None or name in seen:
                wrong = "is listed twice" if name in seen else "is no name such as <series UID>_dcm_0.mha"
                raise DataError(f"{table}, line {row.line}: img_name {name!r} {wrong}")
            seen.add(name)
            series, number = match[1], int(match[2])
            path = self.root / FOLDER / name
            there = path.is_file()
            if not there and self.options.partial:
                continue
            found = True
            subject = patients.get(series, series)
            yield SourceItem(
                item_id=f"{series}/n{number}",
                subject_id=subject,
                also_known_as=self.names(subject, series),
                load=partial(self._load, name) if there else partial(absent, path, table),
                attributes={
                    "file": f"{FOLDER}/{name}",
                    "series": series,
                    "nodule": number,
                    "diameter_mm": row.number("diameter"),
                },
            )
        if not found:
            raise no_items(
                "NODE21 CT nodules", self.root / FOLDER, "<series UID>_dcm_0.mha, as ct_nodules.csv names"
            )

    def _load(self, name: str) -> RawImage:
        from mirage.sources.images import check_same_grid, read_volume

        path = self.root / FOLDER / name
        mask_path = path.with_name(name.replace("_dcm_", "_seg_"))
        raw, mask = read_volume(path), read_volume(mask_path)
        check_same_grid(mask, mask_path, raw, path)
        raw.full_range = None
        raw.masks["label"] = (mask.image[0] > 0).astype("uint8")
        if not raw.masks["label"].any():
            raise DataError(f"{mask_path}: marks no voxel, expected the nodule of {name}")
        return raw
