"""Sources of chest CT with marked nodules."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from mirage.config.base import Options
from mirage.config.source_entry import SourceEntry


class Agreement(Options):
    """Which nodules of several readers count, and what belongs to them."""

    readers: int = Field(
        3, ge=1, le=4, description="readers who must have marked a nodule; LUNA16 asks for 3 of the 4"
    )
    share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="share of a nodule's readers who must have taken a voxel for nodule; 1: what is common "
        "to all of them",
    )


class CtNoduleSource(SourceEntry):
    """What the readers of CT scans with marked nodules have in common; their subjects have one namespace."""

    kinds = ("volume",)

    patients: str | None = Field(
        None,
        description="CSV relative to path with the columns `Series UID` and `Subject ID` (metadata.csv of a "
        "download from TCIA): who the patients of series are. Default: the patient of DICOM files, elsewhere "
        "every series is a subject of its own",
    )
    partial: bool = Field(
        False,
        description="only a part of the scans or patches is there: leave out what the table lists without a "
        "file. Otherwise each of them is a failed row",
    )

    @property
    def label_table(self) -> dict[int, str]:
        """Nodules."""
        return {1: "Nodule"}

    def simulated(self) -> Self:
        """All phantoms are there, and their patients are known."""
        return super().simulated().model_copy(update={"patients": None, "partial": False})


class LidcSource(CtNoduleSource):
    """LIDC-IDRI: DICOM series with the readers' XML, or LUNA16's `subset*/*.mhd` with `annotations.csv`."""

    reader: Literal["lidc"]
    path: str = Field("resources/lidc", description="folder of the patients' folders, or of LUNA16's subsets")
    layout: Literal["auto", "dicom", "luna16"] = Field(
        "auto",
        description="dicom: folders of .dcm files with the readers' .xml; luna16: .mhd files and "
        "annotations.csv; auto: luna16 where there is annotations.csv",
    )
    items: Literal["scans", "nodules"] = Field(
        "scans", description="scans: whole volumes; nodules: a cube around each nodule"
    )
    crop_mm: float = Field(
        50.0, gt=0, description="side of the cube around a nodule, mm; for `items: nodules`"
    )
    agreement: Agreement = Field(
        default_factory=Agreement,
        description="of the readers, in the DICOM layout; LUNA16 has agreed already",
    )

    def simulated(self) -> Self:
        """The layout is told by the files that were simulated."""
        return super().simulated().model_copy(update={"layout": "auto"})


class Node21CtNodulesSource(CtNoduleSource):
    """CT patches of NODE21's generation baseline: `ct_nodules.csv` and `nodule_patches/*_dcm_0.mha`."""

    reader: Literal["node21_ct_nodules"]
    path: str = Field(
        "resources/node21_ct", description="folder that holds ct_nodules.csv and nodule_patches"
    )
