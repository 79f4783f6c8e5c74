"""Datasets: where raw images are read from, how they are prepared and split."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from mirage.config.base import Entry, Options, Refers
from mirage.config.chest import ChexpertSource, JsrtSource, NihChestSource, Node21Source
from mirage.config.ct_nodules import LidcSource, Node21CtNodulesSource
from mirage.config.mammography import OptimamSource
from mirage.config.mammography_sets import BcdrSource, CbisDdsmSource, InbreastSource, MiniMiasSource
from mirage.config.normalise import FittedNormalise, NormaliseOptions
from mirage.config.patches import AnyPatches, BothPatches, NormalPatches
from mirage.config.source_entry import COLOURS, SourceEntry

MriSequence = Literal["flair", "t1", "t1ce", "t2"]
SEQUENCES: tuple[MriSequence, ...] = ("flair", "t1", "t1ce", "t2")
TUMOUR_LABELS = {1: "NCR", 2: "ED", 3: "ET"}
"""Stored value -> name of the labels of a brain tumour, whatever the codes of the files are."""


class DriveSource(SourceEntry):
    """DRIVE: `training/` and `test/`, each with `images`, `1st_manual`, `mask`, and `2nd_manual` for test."""

    reader: Literal["drive"]
    path: str = Field("resources/drive", description="folder that holds training/ and test/")

    @property
    def channels_stored(self) -> list[str]:
        """Colours."""
        return [*COLOURS]


class ChaseDB1Source(SourceEntry):
    """CHASE_DB1: a flat folder of `Image_01L.jpg`, `Image_01L_1stHO.png`, `Image_01L_2ndHO.png`."""

    reader: Literal["chasedb1"]
    path: str = Field("resources/chasedb1", description="the flat folder")

    @property
    def channels_stored(self) -> list[str]:
        """Colours."""
        return [*COLOURS]


class MessidorSource(SourceEntry):
    """MESSIDOR: folders `Base11` ... `Base34` of TIFF files with `Annotation_Base*.xls`; no vessel labels."""

    reader: Literal["messidor"]
    path: str = Field("resources/messidor", description="folder that holds Base11, Base12, ...")

    @property
    def channels_stored(self) -> list[str]:
        """Colours."""
        return [*COLOURS]

    @property
    def label_table(self) -> dict[int, str]:
        """None are given."""
        return {}


class BubilSource(SourceEntry):
    """BU-BIL Dataset 1: `RawImages`, `GoldStandard`, `ExpertsAnnotations/<person>_<tool>`."""

    reader: Literal["bubil"]
    path: str = Field("resources/bubil/BU-BIL_Dataset1", description="folder that holds RawImages")
    annotator: str = Field(
        "gold",
        description="gold, majority (of all experts' masks), or one folder such as Person1_ImageJ",
    )


class FolderSource(SourceEntry):
    """Any folder of images: PNG, TIFF, JPEG, BMP, GIF, DICOM; NIfTI and MetaImage, slices or volumes."""

    kinds = ("image", "volume")

    reader: Literal["folder"]
    path: str = Field(description="folder of images, read with its sub-folders")
    images: str = Field("**/*", description="glob of the image files, relative to path")
    exclude: list[str] = Field(default_factory=list, description="globs of files to leave out")
    masks: str | None = Field(
        None,
        description="mask of an image, relative to path, by a name pattern of {stem}, {name} and {parent}; "
        "docs/your-data.md",
        examples=["masks/{stem}_mask.png"],
    )
    fov: str | None = Field(
        None, description="field-of-view mask of an image, brain mask of a volume; pattern as for masks"
    )
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
    namespace: str | None = Field(
        None,
        min_length=1,
        description="what subjects are unique within: sources of one namespace share their subjects, so that "
        "a patient in two folders is found. Default: the folder",
    )
    table: str | None = Field(
        None,
        description="CSV relative to path with a column `file` and any of subject_id, split and attributes",
    )
    modality: str = Field("unknown", description="what the images are, for the report")
    channels: Literal["grey", "rgb"] = Field("rgb", description="colour of the stored images")

    @property
    def label_table(self) -> dict[int, str]:
        """Those that are named, where there are masks."""
        return dict(self.labels) if self.masks else {}

    @property
    def channels_stored(self) -> list[str]:
        """Colours, or one."""
        return ["grey"] if self.channels == "grey" else [*COLOURS]

    def simulated(self) -> Self:
        """Phantoms of one folder are other subjects than those of another."""
        return super().simulated().model_copy(update={"namespace": None})

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
        return with_group(expression)


def with_group(expression: str | None) -> str | None:
    """A regular expression whose first group is the subject, or None."""
    if expression is not None:
        try:
            groups = re.compile(expression).groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        if groups < 1:
            raise ValueError("needs a group in brackets, which is the subject")
    return expression


def _distinct(sequences: list[Any]) -> list[Any]:
    if len(set(sequences)) < len(sequences):
        raise ValueError(f"a sequence is listed twice in {sequences}")
    return sequences


class BratsSource(SourceEntry):
    """BraTS of any year, or a tree like it: a folder an examination, with a file a sequence."""

    kinds = ("volume",)

    reader: Literal["brats"]
    path: str = Field(
        "resources/brats", description="folder of the examinations' folders; HGG and LGG may lie between"
    )
    layout: Literal["auto", "brats2018", "brats2023", "brats2015", "deepmedic"] = Field(
        "auto",
        description="brats2018: ID/ID_flair.nii.gz, 2017 to 2021; brats2023: ID/ID-t2f.nii.gz, since "
        "2023; brats2015: VSD folders of .mha; deepmedic: Flair_subtrMeanDivStd.nii.gz; auto: told by names",
    )
    codes: Literal["auto", "brats2015", "brats2018", "brats2023", "brats2024", "msd"] = Field(
        "auto",
        description="what the label files' values mean; auto: as in the layout's years. brats2024: after "
        "treatment, where 4 is a resection cavity",
    )
    sequences: list[str] = Field(
        [*SEQUENCES], min_length=1, description="sequences to store, in this order; all must be there"
    )
    files: dict[str, str] = Field(
        default_factory=dict,
        description="for other names: sequence, `label` or `brain` (mask) -> glob relative to the "
        "examination's folder, whose name is {id}; needs `codes` where it has `label`",
        examples=[{"flair": "raw_bet/*_fla_bet.nii.gz", "label": "fusion/mav.nii.gz"}],
    )
    folders: str = Field(
        "*", description="glob of the examinations' folders, relative to path; with `files` only"
    )
    subject: str | None = Field(
        None,
        description="regular expression on an examination's folder relative to path; its first group is the "
        "patient. Default: as the naming of that BraTS says, else the folder",
    )

    @property
    def label_table(self) -> dict[int, str]:
        """The resection cavity exists after treatment only; ``files`` may name no label."""
        if self.files and "label" not in self.files:
            return {}
        return {**TUMOUR_LABELS, 4: "RC"} if self.codes == "brats2024" else dict(TUMOUR_LABELS)

    @property
    def channels_stored(self) -> list[str]:
        """The sequences."""
        return list(self.sequences)

    def simulated(self) -> Self:
        """Laid out as BraTS 2020; of the codes it only matters, for the labels, whether there is a cavity."""
        codes = self.codes if self.codes == "brats2024" else "auto"
        own = {"layout": "auto", "files": {}, "folders": "*", "codes": codes}
        return super().simulated().model_copy(update=own)

    @model_validator(mode="after")
    def _files(self) -> BratsSource:
        _distinct(self.sequences)
        if not self.files:
            unknown = sorted(set(self.sequences) - set(SEQUENCES))
            if unknown:
                raise ValueError(
                    f"sequences: {unknown} are none of {', '.join(SEQUENCES)}; name their `files`"
                )
            if self.folders != "*":
                raise ValueError("folders: only with `files`; a BraTS layout is found by its names")
            return self
        missing = [name for name in self.sequences if name not in self.files]
        if missing:
            raise ValueError(f"files: no glob for {', '.join(missing)}, which `sequences` lists")
        if self.layout != "auto":
            raise ValueError("layout: `files` says where the files are; give one of the two")
        if "label" in self.files and self.codes == "auto":
            raise ValueError("codes: `files` names a label file; say what its values mean")
        for key, glob in {**self.files, "folders": self.folders}.items():
            if PurePosixPath(glob).is_absolute() or ".." in PurePosixPath(glob).parts:
                raise ValueError(f"{key}: {glob!r} must lie inside `path`")
        return self

    @field_validator("subject")
    @classmethod
    def _subject(cls, expression: str | None) -> str | None:
        return with_group(expression)


class MsdBrainSource(SourceEntry):
    """Medical Segmentation Decathlon Task01: `imagesTr` of four sequences a file, and `labelsTr`."""

    kinds = ("volume",)

    reader: Literal["msd_brain"]
    path: str = Field("resources/msd/Task01_BrainTumour", description="folder that holds imagesTr")
    sequences: list[MriSequence] = Field(
        [*SEQUENCES], min_length=1, description="sequences to store, in this order"
    )

    @property
    def label_table(self) -> dict[int, str]:
        """Those of a tumour."""
        return dict(TUMOUR_LABELS)

    @property
    def channels_stored(self) -> list[str]:
        """The sequences."""
        return list(self.sequences)

    @field_validator("sequences")
    @classmethod
    def _sequences(cls, sequences: list[MriSequence]) -> list[MriSequence]:
        return _distinct(sequences)


SourceOptions = Annotated[
    DriveSource
    | ChaseDB1Source
    | MessidorSource
    | BubilSource
    | FolderSource
    | BratsSource
    | MsdBrainSource
    | LidcSource
    | Node21CtNodulesSource
    | NihChestSource
    | ChexpertSource
    | JsrtSource
    | Node21Source
    | MiniMiasSource
    | InbreastSource
    | CbisDdsmSource
    | BcdrSource
    | OptimamSource,
    Field(discriminator="reader"),
]


LAYOUTS: dict[str, tuple[str, ...]] = {
    "lidc": ("dicom", "luna16"),
    "jsrt": ("raw", "png"),
    "cbis_ddsm": ("dicom", "jpeg"),
}
"""Reader -> native layouts that its simulator writes, the default first, where there are several."""


class SimulateOptions(Options):
    """Phantoms with known ground truth, written in the reader's own native layout."""

    subjects: int = Field(20, ge=1, description="patients, children or animals to simulate")
    size: int = Field(
        256,
        ge=32,
        description="side of a simulated image, pixels; of a simulated head, in-plane side: 240 gives "
        "240 x 240 x 155 voxels of 1 mm, a smaller one the same head in larger voxels; of a simulated CT, "
        "in-plane side of a field of view of 360 mm",
    )
    seed: int = Field(0, ge=0, description="seed of the phantoms, beside the dataset's name")
    layout: str | None = Field(
        None,
        description="native layout to write, where a reader knows several. lidc: dicom, luna16; jsrt: raw, "
        "png; cbis_ddsm: dicom, jpeg. Default: the first",
    )


class Bounds(Options):
    """Native values that become the lowest and the highest stored one."""

    kind: str
    low: float | None = Field(None, description="window: native units; percentile: 0-100")
    high: float | None = Field(None, description="window: native units; percentile: 0-100")

    @model_validator(mode="after")
    def _bounds(self) -> Bounds:
        if self.kind not in ("window", "percentile"):
            if self.low is not None or self.high is not None:
                raise ValueError(f"{self.kind} takes no low and high; use window or percentile")
        elif self.low is None or self.high is None or not self.low < self.high:
            raise ValueError(f"{self.kind} needs low < high")
        elif self.kind == "percentile" and not (self.low >= 0 and self.high <= 100):
            raise ValueError("percentile needs 0 <= low < high <= 100")
        return self


class Intensity(Bounds):
    """How stored grey values come from native ones."""

    kind: Literal["dtype_range", "window", "percentile"] = Field(
        "dtype_range",
        description="dtype_range: the full range of the file's integer type; window: low..high in native "
        "units, the same for all images; percentile: low..high percentiles of each image",
    )


class VolumeIntensity(Bounds):
    """How stored grey values come from native ones, for each volume and sequence by itself."""

    kind: Literal["percentile", "min_max", "window"] = Field(
        description="percentile: low..high percentiles inside the brain; min_max: of the whole volume; "
        "window: low..high in native units, the same for all volumes (CT)"
    )


class PrepareOptions(Options):
    """From a native image to a stored one of fixed size."""

    kind: Literal["image"] = Field("image", description="2D images")
    size: int | None = Field(
        256,
        ge=16,
        description="side of the stored square image, pixels; with `patches`, before they are cut. With "
        "those it can be null: they are cut from the image at its native size",
    )
    crop: Literal["none", "fov", "centre"] = Field(
        "none", description="first cut: none, the field of view's bounding square, the centre square"
    )
    fit: Literal["pad", "stretch"] = Field("pad", description="how a non-square image becomes square")
    bits: Literal[8, 16] = Field(8, description="depth of the stored image")
    intensity: Intensity = Field(default_factory=Intensity)
    normalise: NormaliseOptions | None = Field(
        None,
        description="make grey values comparable, by those inside the field of view; takes the place of "
        "`intensity`, or follows it (match, clahe)",
    )
    fov: Literal["auto", "derive", "none", "nonzero", "digital", "otsu", "triangle", "film"] = Field(
        "auto",
        description="auto: the given field of view, else derived by threshold; derive: by threshold, of a "
        "photograph; none: not stored. Of a breast: nonzero: all pixels that are not 0; digital: the largest "
        "part above the background, which has one grey value in processed digital images; film: the largest "
        "bright part, for digitised film; otsu and triangle: the same by these thresholds",
    )
    mask_threshold: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="share of a stored pixel's area that a binary label must cover; "
        "below 0.5 keeps thin vessels",
    )
    require_mask: bool = Field(False, description="an image without a label mask is a failed row")
    patches: AnyPatches | None = Field(
        None, description="store squares of each image instead of the whole image"
    )

    @property
    def stored_side(self) -> int:
        """Side of the stored images, pixels."""
        if self.patches is not None:
            return self.patches.side
        assert self.size is not None  # by the validator below
        return self.size

    @property
    def items_each(self) -> int:
        """Stored items of one source image; of one lesion, where lesions are cut out."""
        return 1 if self.patches is None else self.patches.count

    @property
    def fitted(self) -> FittedNormalise | None:
        """How grey values are normalised, where that is fitted on training images."""
        return self.normalise if isinstance(self.normalise, FittedNormalise) else None

    @property
    def scaled_by_type(self) -> bool:
        """Whether the range of a file's type becomes that of the stored image."""
        mapped = self.normalise is None or self.normalise.ranged
        return mapped and self.intensity.kind == "dtype_range"

    @model_validator(mode="after")
    def _patches_fit(self) -> Self:
        if self.size is None:
            if self.patches is None or self.crop != "none":
                raise ValueError(
                    "size: null keeps images at their native size, of which patches are cut; it needs "
                    "`patches` and `crop: none`"
                )
        elif self.patches is not None:
            self.patches.check_size(self.size)
        if isinstance(self.patches, NormalPatches | BothPatches) and self.fov == "none":
            raise ValueError("patches: normal tissue lies in the field of view; say `fov`, not none")
        return self

    @model_validator(mode="after")
    def _can_be_normalised(self) -> Self:
        if self.normalise is None:
            return self
        if self.fov == "none":
            raise ValueError("normalise: it reads the grey values of the field of view; say `fov`, not none")
        if not self.normalise.ranged and self.intensity != Intensity():
            raise ValueError(
                f"intensity: `normalise` {self.normalise.method} maps native values itself; leave one out"
            )
        return self


Side = Annotated[int, Field(ge=8)]
PRESETS: dict[str, dict[str, Any]] = {
    "thesis": {
        "size": (64, 240, 240),
        "drop_slices": (30, 30),
        "crop": "none",
        "fit": "stretch",
        "interpolation": "nearest",
        "intensity": {"kind": "min_max"},
        "outside": "keep",
    },
    "recommended": {
        "size": (160, 192, 160),
        "crop": "brain",
        "fit": "pad",
        "interpolation": "linear",
        "intensity": {"kind": "percentile", "low": 0.1, "high": 99.9},
        "outside": "zero",
    },
}
"""What a preset stands for. thesis: 30 + 30 slices off, 95 squeezed to 64 by nearest neighbour, each sequence
scaled by its own range. recommended: the brain's bounding box at its own resolution, robust range."""


class VolumePrepareOptions(Options):
    """From a native volume to a stored one of fixed size.

    Axes are D from inferior to superior, H from anterior to posterior, W from the patient's right to left.
    """

    kind: Literal["volume"] = Field(description="3D volumes")
    preset: Literal["thesis", "recommended"] | None = Field(
        None,
        description="fills in the keys below that are not given. thesis: size [64, 240, 240], drop_slices "
        "[30, 30], fit stretch, interpolation nearest, intensity min_max, outside keep. recommended: size "
        "[160, 192, 160], crop brain, otherwise the defaults",
    )
    size: tuple[Side, Side, Side] = Field(description="stored voxels along D, H and W; a preset has its own")
    drop_slices: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] = Field(
        (0, 0), description="axial slices cut off at the lower and at the upper end, first of all"
    )
    crop: Literal["none", "brain"] = Field(
        "none", description="cut to the bounding box of the brain mask, or not"
    )
    margin: int = Field(0, ge=0, description="native voxels kept around the brain's bounding box")
    spacing_mm: float | None = Field(
        None, gt=0, description="isotropic spacing of the stored voxels, mm; none: as in the file"
    )
    fit: Literal["pad", "stretch"] = Field(
        "pad",
        description="pad: centred, with background around or without the margins that do not fit; stretch: "
        "each axis is scaled to `size`",
    )
    interpolation: Literal["nearest", "linear"] = Field(
        "linear",
        description="of images where voxels change size; linear averages over area where they grow. Labels "
        "are always nearest",
    )
    brain: Literal["auto", "derive", "none"] = Field(
        "auto",
        description="auto: the given brain mask, else derived from the background; none: not stored, for "
        "volumes that are no heads",
    )
    intensity: VolumeIntensity = Field(
        default_factory=lambda: VolumeIntensity(kind="percentile", low=0.1, high=99.9)
    )
    outside: Literal["keep", "zero"] = Field("zero", description="stored values outside the brain mask")
    bits: Literal[8, 16] = Field(16, description="depth of the stored volume")
    require_mask: bool = Field(
        False, description="a volume without a label mask, or with an empty one, is a failed row"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, value: Any) -> Any:
        """A preset is a shorthand: what it stands for takes its place, so both are the same configuration."""
        if isinstance(value, Mapping) and value.get("preset") in PRESETS:
            given = {key: item for key, item in value.items() if key != "preset"}
            return {**PRESETS[value["preset"]], **given}
        return value

    @property
    def stored_side(self) -> tuple[int, int, int]:
        """Stored voxels along D, H and W."""
        return self.size

    @property
    def items_each(self) -> int:
        """Stored items of one source volume."""
        return 1

    @model_validator(mode="after")
    def _consistent(self) -> VolumePrepareOptions:
        if self.margin and self.crop == "none":
            raise ValueError("margin: there is nothing to keep around with `crop: none`; use `crop: brain`")
        if self.spacing_mm is not None and self.fit == "stretch":
            raise ValueError("spacing_mm: `fit: stretch` scales to `size` instead; use `fit: pad`")
        if self.brain == "none" and (self.crop == "brain" or self.outside == "zero"):
            raise ValueError("brain: `none` needs `crop: none` and `outside: keep`, which need no brain mask")
        return self


def _image_by_default(value: Any) -> Any:
    return {"kind": "image", **value} if isinstance(value, Mapping) else value


AnyPrepareOptions = Annotated[
    PrepareOptions | VolumePrepareOptions,
    Field(discriminator="kind"),
    BeforeValidator(_image_by_default),
]


class SplitOptions(Options):
    """Subjects to train, val and test; fixed before anything is trained."""

    by: Literal["source", "random", "hash"] = Field(
        "source",
        description="source: the dataset's own test set where it has one; random: ignore it; hash: each "
        "subject by itself, so that datasets of one archive agree whatever images they take of it, and the "
        "shares are kept on average",
    )
    val: float = Field(0.1, ge=0, lt=1, description="share of the subjects that are not in test")
    test: float = Field(
        0.2,
        ge=0,
        le=1,
        description="share of all subjects, 1: all of them; unused where the source has a test set",
    )
    seed: int = Field(0, ge=0, description="seed of the order of subjects")


class DatasetConfig(Entry):
    """A named dataset of real or simulated images or volumes, or of images that a generator has made."""

    source: SourceOptions = Field(description="reader of the native layout")
    made_from: Annotated[str | None, Refers("dataset")] = Field(
        None,
        description="the images are synthetic: somebody's generator made them after the training split of "
        "this dataset. All are training items; it stands wherever a recipe can. A column `donors` of the "
        "table names subjects of that dataset whose pixels or labels an image holds, separated by `;`",
    )
    simulate: SimulateOptions | None = Field(
        None, description="simulate the native layout instead of reading `source.path`"
    )
    prepare: AnyPrepareOptions = Field(
        default_factory=PrepareOptions, description="how images, or with `kind: volume` volumes, are stored"
    )
    split: SplitOptions = Field(default_factory=SplitOptions)
    shards: int = Field(1, ge=1, le=9999, description="jobs and files the dataset is cut into")
    max_failed_fraction: float = Field(
        0.05, ge=0, le=1, description="share of failed rows above which the dataset is refused"
    )

    @model_validator(mode="after")
    def _kind_fits_source(self) -> DatasetConfig:
        kind, right = self.prepare.kind, self.source.kinds
        if kind not in right:
            raise ValueError(
                f"prepare.kind: {self.source.reader} reads {right[0]}s, not {kind}s; write `kind: {right[0]}`"
            )
        if kind == "volume" and isinstance(self.source, FolderSource) and self.source.channels == "rgb":
            raise ValueError("source.channels: volumes have no colours; write `channels: grey`")
        return self

    @model_validator(mode="after")
    def _made_is_all_training(self) -> DatasetConfig:
        if self.made_from is not None and self.split != SplitOptions():
            raise ValueError("split: images that were `made_from` others are all for training; leave it out")
        return self

    @model_validator(mode="after")
    def _made_fits_no_normaliser(self) -> DatasetConfig:
        if self.made_from is not None and self.fits_normaliser:
            raise ValueError(
                "prepare.normalise: images that were `made_from` others are normalised as those are; name "
                "that dataset under `fitted_on`"
            )
        return self

    @model_validator(mode="after")
    def _can_be_simulated(self) -> DatasetConfig:
        unknown = set(self.source.channels_stored) - set(SEQUENCES)
        if self.simulate and isinstance(self.source, BratsSource) and unknown:
            raise ValueError(
                f"source.sequences: simulated brains have no {', '.join(sorted(unknown))}, only "
                f"{', '.join(SEQUENCES)}"
            )
        return self

    @model_validator(mode="after")
    def _layout_is_known(self) -> DatasetConfig:
        layout, known = self.simulate and self.simulate.layout, LAYOUTS.get(self.source.reader, ())
        if layout is not None and layout not in known:
            expected = f"one of {', '.join(known)}" if known else "none; this reader has one layout"
            raise ValueError(f"simulate.layout: {layout!r}, expected {expected}")
        return self

    @property
    def fitted(self) -> FittedNormalise | None:
        """How grey values are normalised, where that is fitted on training images."""
        return self.prepare.fitted if isinstance(self.prepare, PrepareOptions) else None

    @property
    def fits_normaliser(self) -> bool:
        """Whether a normaliser is fitted on this dataset's own training images."""
        return self.fitted is not None and self.fitted.fitted_on is None

    @property
    def labels(self) -> dict[int, str] | None:
        """Stored value -> name of the labels; empty where there are none, None if only the reader knows."""
        return (self.source.simulated() if self.simulate else self.source).label_table

    @property
    def mask_channels(self) -> set[str]:
        """Which of the mask channels ``label`` and ``brain`` are stored."""
        brain = isinstance(self.prepare, VolumePrepareOptions) and self.prepare.brain != "none"
        return ({"brain"} if brain else set()) | ({"label"} if self.labels != {} else set())
