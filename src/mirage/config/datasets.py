"""Datasets: where raw images are read from, how they are prepared and split."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from mirage.config.base import Entry, Options


class DriveSource(Options):
    """DRIVE: `training/` and `test/`, each with `images`, `1st_manual`, `mask`, and `2nd_manual` for test."""

    reader: Literal["drive"]
    path: str = Field("resources/drive", description="folder that holds training/ and test/")


class ChaseDB1Source(Options):
    """CHASE_DB1: a flat folder of `Image_01L.jpg`, `Image_01L_1stHO.png`, `Image_01L_2ndHO.png`."""

    reader: Literal["chasedb1"]
    path: str = Field("resources/chasedb1", description="the flat folder")


class MessidorSource(Options):
    """MESSIDOR: folders `Base11` ... `Base34` of TIFF files with `Annotation_Base*.xls`; no vessel labels."""

    reader: Literal["messidor"]
    path: str = Field("resources/messidor", description="folder that holds Base11, Base12, ...")


class BubilSource(Options):
    """BU-BIL Dataset 1: `RawImages`, `GoldStandard`, `ExpertsAnnotations/<person>_<tool>`."""

    reader: Literal["bubil"]
    path: str = Field("resources/bubil/BU-BIL_Dataset1", description="folder that holds RawImages")
    annotator: str = Field(
        "gold",
        description="gold, majority (of all experts' masks), or one folder such as Person1_ImageJ",
    )


class FolderSource(Options):
    """Any folder of images: PNG, TIFF, JPEG, BMP, GIF, NIfTI or DICOM, 8 or 16 bit."""

    reader: Literal["folder"]
    path: str = Field(description="folder of images, read with its sub-folders")
    images: str = Field("**/*", description="glob of the image files, relative to path")
    exclude: list[str] = Field(default_factory=list, description="globs of files to leave out")
    masks: str | None = Field(
        None,
        description="mask of an image, relative to path; {stem}, {parent} and {name} are the image's",
        examples=["masks/{stem}_mask.png"],
    )
    fov: str | None = Field(None, description="field-of-view mask of an image, pattern as for masks")
    mask_polarity: Literal["bright", "dark", "labels"] = Field(
        "bright", description="bright or dark pixels are foreground, or pixel values are labels"
    )
    labels: dict[int, str] = Field(
        default_factory=lambda: {1: "foreground"}, description="mask value -> name; 0 is background"
    )
    subject: str | None = Field(
        None,
        description="regular expression on the path relative to `path`; its first group is the subject. "
        "Default: every image is a subject of its own",
        examples=[r"(\d+)[LR]\.jpg$"],
    )
    table: str | None = Field(
        None,
        description="CSV relative to path with a column `file` and any of subject_id, split and attributes",
    )
    modality: str = Field("unknown", description="what the images are, for the report")
    channels: Literal["grey", "rgb"] = Field("rgb", description="colour of the stored images")

    @model_validator(mode="after")
    def _patterns(self) -> FolderSource:
        for key, pattern in (("masks", self.masks), ("fov", self.fov)):
            unknown = set(re.findall(r"\{(.*?)\}", pattern or "")) - {"stem", "parent", "name"}
            if unknown:
                raise ValueError(
                    f"{key}: {pattern!r} holds {sorted(unknown)}; known are stem, parent and name"
                )
            if pattern and not re.search(r"\{(stem|name)\}", pattern):
                raise ValueError(
                    f"{key}: {pattern!r} is the same for all images; it needs {{stem}} or {{name}}"
                )
        return self

    @model_validator(mode="after")
    def _labels(self) -> FolderSource:
        if not self.labels or not all(1 <= value <= 254 for value in self.labels):
            raise ValueError(
                "labels: values must be 1 to 254, at least one; 0 is background, 255 means absent"
            )
        if self.mask_polarity != "labels" and len(self.labels) > 1:
            raise ValueError("labels: a bright or dark mask has one label; use mask_polarity: labels")
        return self

    @field_validator("subject")
    @classmethod
    def _subject(cls, expression: str | None) -> str | None:
        if expression is not None:
            try:
                groups = re.compile(expression).groups
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from error
            if groups < 1:
                raise ValueError("needs a group in brackets, which is the subject")
        return expression


SourceOptions = Annotated[
    DriveSource | ChaseDB1Source | MessidorSource | BubilSource | FolderSource,
    Field(discriminator="reader"),
]


class SimulateOptions(Options):
    """Phantoms with known ground truth, written in the reader's own native layout."""

    subjects: int = Field(20, ge=1, description="patients, children or animals to simulate")
    size: int = Field(256, ge=32, description="side of a simulated image, pixels")
    seed: int = Field(0, ge=0, description="seed of the phantoms, beside the dataset's name")


class Intensity(Options):
    """How stored grey values come from native ones."""

    kind: Literal["dtype_range", "window", "percentile"] = Field(
        "dtype_range",
        description="dtype_range: the full range of the file's integer type; window: low..high in native "
        "units, the same for all images; percentile: low..high percentiles of each image",
    )
    low: float | None = Field(None, description="window: native units; percentile: 0-100")
    high: float | None = Field(None, description="window: native units; percentile: 0-100")

    @model_validator(mode="after")
    def _bounds(self) -> Intensity:
        if self.kind == "dtype_range":
            if self.low is not None or self.high is not None:
                raise ValueError("dtype_range takes no low and high; use window or percentile")
        elif self.low is None or self.high is None or not self.low < self.high:
            raise ValueError(f"{self.kind} needs low < high")
        elif self.kind == "percentile" and not (self.low >= 0 and self.high <= 100):
            raise ValueError("percentile needs 0 <= low < high <= 100")
        return self


class PrepareOptions(Options):
    """From a native image to a stored one of fixed size."""

    size: int = Field(256, ge=16, description="side of the stored square image, pixels")
    crop: Literal["none", "fov", "centre"] = Field(
        "none", description="first cut: none, the field of view's bounding square, the centre square"
    )
    fit: Literal["pad", "stretch"] = Field("pad", description="how a non-square image becomes square")
    bits: Literal[8, 16] = Field(8, description="depth of the stored image")
    intensity: Intensity = Field(default_factory=Intensity)
    fov: Literal["auto", "derive", "none"] = Field(
        "auto", description="auto: the given field of view, else derived by threshold; none: not stored"
    )
    mask_threshold: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="share of a stored pixel's area that a binary label must cover; "
        "below 0.5 keeps thin vessels",
    )
    require_mask: bool = Field(False, description="an image without a label mask is a failed row")


class SplitOptions(Options):
    """Subjects to train, val and test; fixed before anything is trained."""

    by: Literal["source", "random"] = Field(
        "source", description="source: the dataset's own test set where it has one; random: ignore it"
    )
    val: float = Field(0.1, ge=0, lt=1, description="share of the subjects that are not in test")
    test: float = Field(
        0.2, ge=0, lt=1, description="share of all subjects; unused where the source has a test set"
    )
    seed: int = Field(0, ge=0, description="seed of the order of subjects")


class DatasetConfig(Entry):
    """A named dataset of real or simulated images."""

    source: SourceOptions = Field(description="reader of the native layout")
    simulate: SimulateOptions | None = Field(
        None, description="simulate the native layout instead of reading `source.path`"
    )
    prepare: PrepareOptions = Field(default_factory=PrepareOptions)
    split: SplitOptions = Field(default_factory=SplitOptions)
    shards: int = Field(1, ge=1, le=9999, description="jobs and files the dataset is cut into")
    max_failed_fraction: float = Field(
        0.05, ge=0, le=1, description="share of failed rows above which the dataset is refused"
    )
