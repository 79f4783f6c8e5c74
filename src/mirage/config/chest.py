"""Sources of chest radiographs, which share how images are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field

from mirage.config.archive import ArchiveSource

NO_FINDING = "No Finding"
NIH_FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    NO_FINDING,
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
)
CHEXPERT_FINDINGS = (
    NO_FINDING,
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
"""Columns of labels, in the tables' order."""


class ChestSource(ArchiveSource):
    """Options of every reader of chest radiographs: which images are taken, with which boxes."""

    known_findings: ClassVar[tuple[str, ...]] = ()
    """Labels that images and boxes can have; empty where any word can be one."""
    known_views: ClassVar[tuple[str, ...]] = ("PA", "AP")

    findings: list[str] | None = Field(
        None,
        min_length=1,
        description="take images with at least one of these labels; `No Finding` for healthy ones. "
        "Default: all",
        examples=[["No Finding"]],
    )
    boxes: list[str] = Field(
        ["Nodule", "Mass"], min_length=1, description="labels whose boxes are kept; others are dropped"
    )

    @property
    def box_labels(self) -> Sequence[str]:
        """As asked for."""
        return self.boxes

    def words(self) -> Mapping[str, tuple[Sequence[str] | None, Sequence[str]]]:
        """Labels of images and boxes are of one table."""
        labels = self.known_findings
        return {"findings": (self.findings, labels), "boxes": (self.boxes, labels), **super().words()}


class NihChestSource(ChestSource):
    """NIH ChestX-ray8/14: `images*/` with PNG files, `Data_Entry_2017*.csv`, `BBox_List_2017.csv`."""

    known_findings = NIH_FINDINGS

    reader: Literal["nih_chest"]
    path: str = Field(
        "resources/nih_chest", description="folder that holds the tables and images/ or images_001/ ..."
    )


class ChexpertSource(ChestSource):
    """CheXpert: `train.csv` and `valid.csv` of labels, images in `train/` and `valid/`; no boxes."""

    known_findings = CHEXPERT_FINDINGS
    known_views = ("PA", "AP", "LL", "RL", "Lateral")

    reader: Literal["chexpert"]
    path: str = Field(
        "resources/chexpert", description="folder that holds train.csv, valid.csv, train/ and valid/"
    )
    boxes: list[str] = Field([], max_length=0, description="CheXpert has none")
    boxed_only: Literal[False] = Field(False, description="CheXpert has no boxes")
    uncertain: Literal["positive", "negative", "ignore"] = Field(
        "ignore",
        description="what -1 (mentioned, but uncertain) counts as: positive (U-Ones), negative (U-Zeros), or "
        "neither, so that `findings` never takes an image for it (U-Ignore)",
    )


class JsrtSource(ChestSource):
    """JSRT: `JPCLN001.IMG` ... (raw) or `.png`, in any folders, with `CLNDAT_EN.txt` or a CSV of nodules."""

    known_findings = ("Nodule", NO_FINDING)
    known_views = ("PA",)

    reader: Literal["jsrt"]
    path: str = Field("resources/jsrt", description="folder that holds the images and the table of nodules")
    boxes: list[str] = Field(["Nodule"], min_length=1, description="labels whose boxes are kept")
    table: str | None = Field(
        None,
        description="table of nodules relative to path: the original text, or a CSV with the columns file, "
        "x, y (pixels of 2048), size (mm), and any of subtlety, age, sex, malignancy, location, diagnosis. "
        "Default: CLNDAT_EN.txt, else jsrt_metadata.csv",
    )
    inverted: Literal["auto", "yes", "no"] = Field(
        "auto",
        description="whether bright means dark film in the files, and is inverted; auto: in raw files, not "
        "in PNG",
    )

    def simulated(self) -> Self:
        """Laid out as the original."""
        own = {"table": None, "inverted": "auto"}
        return super().simulated().model_copy(update=own)


class Node21Source(ChestSource):
    """NODE21: `images/*.mha` and `metadata.csv` with a row a box; label 0 for images without a nodule."""

    known_findings = ("Nodule", NO_FINDING)
    known_views = ()

    reader: Literal["node21"]
    path: str = Field(
        "resources/node21",
        description="folder that holds images/ and metadata.csv, or cxr_images/ of the archive",
    )
    boxes: list[str] = Field(["Nodule"], min_length=1, description="labels whose boxes are kept")
    views: None = Field(None, description="NODE21 does not say which view an image is")
