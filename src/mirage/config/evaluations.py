"""Evaluations: what is measured, on what, and between which arms."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from mirage.config.base import DataName, Entry, Name, Options, Part, RealName, Refers, Seed
from mirage.config.classifiers import OVERSAMPLED, Balance, ClassifierOptions, OversamplingOptions
from mirage.config.criteria import Criterion
from mirage.config.detectors import AnyDetectorJudge, RetinaNetJudge
from mirage.config.folds import Folds
from mirage.config.generators import Augment, Precision, SegmenterOptions
from mirage.config.judges import DeepMedicJudge, Judge
from mirage.config.maps import COMPARED, MapOptions
from mirage.config.observer import ReaderPage, listed
from mirage.config.printing import PrintOptions
from mirage.config.privacy import CopyControl, Gate

AnyOptions = TypeVar("AnyOptions", bound=Options)
OBSERVER_ARM = "observer2"
"""Arm under which a second observer is scored; no configured arm may take its name."""


def with_default(options: AnyOptions, key: str) -> AnyOptions:
    """The options with the default of one key."""
    default = type(options).model_fields[key].get_default(call_default_factory=True)
    return options.model_copy(update={key: default})


class TrainingSet(Part):
    """One dataset of an arm's training set, or a part of it."""

    data: DataName = Field(description="dataset or recipe")
    draw: Literal["seed", "fixed"] = Field(
        "seed",
        description="which `images` or `share`: seed: a choice of each judge's seed, so that intervals hold "
        "what it matters; fixed: one for all seeds, the very part that generators and recipes of this size "
        "have, for arms beside what was made of it, and always for label fidelity",
    )
    fold: int | None = Field(
        None,
        ge=0,
        description="evaluations by fold: the one fold in which it is trained on; none: all. Written out for "
        "recipes that are made by fold",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"data": value} if isinstance(value, str) else value


class Arm(Options):
    """One training set of an evaluation."""

    train: list[TrainingSet] = Field(min_length=1, description="pooled; each dataset's training split")
    pretrain: list[TrainingSet] = Field(
        default_factory=list, description="first half of the step budget, before `train`"
    )
    augment: bool = Field(False, description="with the evaluation's classical augmentation")

    def sets(self) -> list[tuple[str, TrainingSet]]:
        """Every training set, and the key it stands under."""
        return [("train", part) for part in self.train] + [("pretrain", part) for part in self.pretrain]

    def of_datasets(self, names: Collection[str]) -> Self:
        """The same arm without training sets of other datasets."""
        kept = {
            key: [part for part in getattr(self, key) if part.data in names] for key in ("train", "pretrain")
        }
        return self.model_copy(update=kept)


class ArmsEvaluation(Entry):
    """An evaluation that trains a judge on every arm with every seed and scores it on held-out images.

    ``baseline_keys`` are keys that concern the baseline arm alone, ``scoring_keys`` those that leave each
    judge as it is; ``by_fold`` is whether it can be cross-validated.
    """

    baseline_keys: ClassVar[frozenset[str]] = frozenset()
    scoring_keys: ClassVar[frozenset[str]] = frozenset()
    by_fold: ClassVar[bool] = False

    evaluator: str
    test: RealName = Field(description="dataset (no recipe) whose test split is scored")
    arms: Mapping[Name, Arm] = Field(
        min_length=1, description="name -> training set; null leaves out an arm, as an override or `demo` may"
    )
    baseline: str = Field("real", description="arm that the others are compared with")
    seeds: list[Seed] = Field([0, 1, 2], min_length=1, description="one judge is trained for each")

    def also_read(self, arm: str) -> list[str]:
        """Datasets that an arm's job reads beside the test set and its training sets."""
        return []

    def unaugmented(self) -> Self:
        """The evaluation as arms without `augment: true` see it: how the others are augmented is left out."""
        return self

    def like(self, arm: str) -> str:
        """The arm that tells what is added to one: alike, of the tested and the baseline's datasets alone.

        The arm itself where nothing is added; the baseline where there is no such arm.
        """
        real = {self.test, *(part.data for _, part in self.arms[self.baseline].sets())}
        wanted = self.arms[arm].of_datasets(real)
        return next((name for name, other in self.arms.items() if other == wanted), self.baseline)

    @field_validator("arms", mode="before")
    @classmethod
    def _left_out(cls, arms: Any) -> Any:
        """Overrides are merged key by key, so a null is the one way in which they can take an arm away."""
        return (
            {name: arm for name, arm in arms.items() if arm is not None} if isinstance(arms, dict) else arms
        )

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is listed twice; its judge would count double")
        return seeds

    @model_validator(mode="after")
    def _arms(self) -> ArmsEvaluation:
        if OBSERVER_ARM in self.arms:
            raise ValueError(f"arm {OBSERVER_ARM!r}: the name is kept for the second observer")
        if self.baseline not in self.arms:
            raise ValueError(f"baseline {self.baseline!r} is none of the arms {sorted(self.arms)}")
        for name, arm in self.arms.items():
            for part in (*arm.train, *arm.pretrain):
                if part.fold is not None and not self.by_fold:
                    raise ValueError(
                        f"arms.{name}: {part.data!r} is of fold {part.fold}, this evaluation has no folds; "
                        "name a recipe whose generator learns from the whole training split"
                    )
        return self


class SegmentationEvaluation(ArmsEvaluation):
    """A U-Net is trained on every arm and scored on held-out real images."""

    volumes = False

    evaluator: Literal["segmentation"]
    label: str | None = Field(None, description="name of the label scored; none: all foreground")
    steps: int = Field(2000, ge=2, description="optimiser steps of every judge, whatever its arm")
    batch_size: int = Field(8, ge=1, description="patches a step")
    augment: Augment = Field(
        default_factory=lambda: Augment(
            hflip=True, vflip=True, rotate_deg=180, scale=0.1, gamma=0.2, brightness=0.2
        ),
        description="what arms with `augment: true` get",
    )
    judge: SegmenterOptions = Field(default_factory=SegmenterOptions)

    def unaugmented(self) -> Self:
        """Without `augment`."""
        return with_default(self, "augment")


class LesionOptions(Options):
    """What counts as a lesion where scores are taken lesion by lesion (BraTS 2023)."""

    dilation: int = Field(
        3, ge=0, description="truth dilated by so many voxels hangs together as one lesion; BraTS: at 1 mm"
    )
    min_volume_mm3: float = Field(50.0, ge=0, description="lesions of at most this volume are left out")


class VolumeSegmentationEvaluation(ArmsEvaluation):
    """A 3D network is trained on every arm and scored on held-out real volumes, by label and by region.

    Arms with `augment: true` are trained with the judge's own `augment`, others without any.
    """

    volumes = True
    baseline_keys = frozenset({"label_fidelity"})
    scoring_keys = frozenset({"regions", "lesions", "penalty_mm", "label_fidelity"})

    evaluator: Literal["volume_segmentation"]
    steps: int = Field(
        70_000, ge=2, description="optimiser steps of every judge, whatever its arm; 70,000 is DeepMedic's"
    )
    batch_size: int = Field(10, ge=1, description="segments or patches a step")
    precision: Precision = Field(
        "32-true", description="number format of the judge's training; weights stay 32 bit"
    )
    judge: Judge = Field(
        default_factory=lambda: DeepMedicJudge(arch="deepmedic"), description="the network that is trained"
    )
    regions: dict[str, list[str]] | None = Field(
        None,
        description="region -> names of its labels; none: WT (NCR, ED, ET), TC (NCR, ET) and ET, as BraTS "
        "has them. Every label is scored as well, regions also lesion by lesion",
    )
    lesions: LesionOptions = Field(default_factory=LesionOptions)
    penalty_mm: float = Field(
        374.0, gt=0, description="distance where a region is missed or is not there; BraTS: 374 mm"
    )
    label_fidelity: list[TrainingSet] = Field(
        default_factory=list,
        description="recipes whose volumes the baseline arm's judge segments: Dice against the labels that "
        "they were made from",
    )

    def unaugmented(self) -> Self:
        """Without the judge's own."""
        return self.model_copy(update={"judge": with_default(self.judge, "augment")})

    def also_read(self, arm: str) -> list[str]:
        """The recipes whose labels the baseline arm's judge looks for."""
        return [part.data for part in self.label_fidelity] if arm == self.baseline else []


class HitOptions(Options):
    """When a mark counts as having found a lesion; printed with every result."""

    rule: Literal["iou", "centre_in_box", "centre_distance"] = Field(
        "iou",
        description="iou: boxes overlap enough; centre_in_box: the mark's centre lies in the lesion's box; "
        "centre_distance: the centres are near enough",
    )
    iou: float = Field(
        0.2, gt=0, le=1, description="least overlap, intersection over union; NODE21 has 0.2, COCO from 0.5"
    )
    distance: float = Field(
        10.0, gt=0, description="largest distance of the centres, pixels of the stored image"
    )
    extra: Literal["ignored", "false_positive"] = Field(
        "ignored",
        description="what further marks on a lesion count as that a higher mark has found: LUNA16 ignores "
        "them, COCO and NODE21's winner count false positives",
    )


class DetectionEvaluation(ArmsEvaluation):
    """A detector is trained on every arm's boxes and scored on held-out real images.

    There are two test columns: `benchmark`, the test split of `test`, and `own`, a share of the arm's own
    training images that its detector is not shown. Images without a box are normal ones.
    """

    volumes = False
    scoring_keys = frozenset({"hit", "shown_from"})

    evaluator: Literal["detection"]
    labels: list[str] | None = Field(
        None,
        min_length=1,
        description="names of the boxes that are lesions, such as Nodule; none: all. Others are left out",
    )
    steps: int = Field(3000, ge=2, description="optimiser steps of every detector, whatever its arm")
    batch_size: int = Field(8, ge=1, description="images a step")
    precision: Precision = Field("32-true", description="number format of the training; weights stay 32 bit")
    augment: Augment = Field(
        default_factory=lambda: Augment(hflip=True, rotate_deg=10, scale=0.15, gamma=0.2, brightness=0.2),
        description="what arms with `augment: true` get; boxes follow",
    )
    own_share: float = Field(
        0.15,
        ge=0,
        lt=1,
        description="share of an arm's donors (subjects, for real images) whose images are held out for the "
        "`own` column; 0: none",
    )
    hit: HitOptions = Field(default_factory=HitOptions)
    shown_from: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="score from which marks count for `hit_fraction`, the chest study's own figure; its "
        "detector's default is 0.05",
    )
    judge: AnyDetectorJudge = Field(
        default_factory=RetinaNetJudge, description="the detector that is trained, RetinaNet by default"
    )

    def unaugmented(self) -> Self:
        """Without `augment`."""
        return with_default(self, "augment")


class ClassificationArm(Arm):
    """One training set of a classification, and what is done against its imbalance.

    ``train`` names the tested dataset, whose training split gives the real images of both classes, and the
    recipes, or datasets that a generator made, whose images are added to the positives.
    """

    balance: Balance = Field(
        "none",
        description="class_weights: a positive weighs as much more as there are fewer; focal: focal loss; "
        "smote, borderline_smote, adasyn: positives interpolated by imbalanced-learn; jitter: changed copies "
        "of positives. The last four add as many positives as a synthetic set would",
    )

    def added(self, test: str) -> list[TrainingSet]:
        """The synthetic sets."""
        return [part for part in self.train if part.data != test]

    def adds_positives(self, test: str) -> bool:
        """Whether there are more positives than the real ones."""
        return self.balance in OVERSAMPLED or bool(self.added(test))


class ClassificationEvaluation(ArmsEvaluation):
    """A classifier is trained on every arm with few and many positives and scored on held-out real images.

    The mammography study's protocol: k positives and ten times as many negatives, nested subsets by patient,
    with and without synthetic positives, in cross-validation by patient.
    """

    volumes = False
    by_fold = True
    scoring_keys = frozenset({"positives", "folds"})  # each k and fold has a judge of its own

    evaluator: Literal["classification"]
    arms: Mapping[Name, ClassificationArm] = Field(
        min_length=1, description="name -> training set; null leaves out an arm, as an override or `demo` may"
    )
    positive: Criterion = Field(description="images that are to be found, such as lesions")
    negative: Criterion | None = Field(
        None, description="the others; none: all that are not positive and whose attribute is known"
    )
    folds: Folds | None = Field(
        None,
        description="cross-validation by subject, over all of `test`, and generators that learn by the same "
        "folds; none: the splits of `test`",
    )
    positives: list[int] = Field(
        [100, 250, 500, 750, 1000, 1300],
        min_length=1,
        description="k: real training positives; a smaller set lies inside a larger one, by patient",
    )
    ratio: float = Field(10.0, gt=0, description="real training negatives to a real positive")
    held_out_ratio: float | None = Field(
        10.0,
        gt=0,
        description="validation and test negatives to a positive, at most; none: all there are. F1 depends "
        "on it",
    )
    augmentation_ratio: float = Field(
        1.5, gt=0, description="how many positives are added, read as `ar_definition` says"
    )
    ar_definition: Literal["fake_per_real", "total_per_real"] = Field(
        "fake_per_real",
        description="fake_per_real: so many are added to a real positive, 1.5 k at 1.5; total_per_real: so "
        "many there are then to a real positive, 0.5 k are added. The published study does not say which",
    )
    subset_seed: int = Field(0, ge=0, description="seed of the order of patients that subsets are cut from")
    steps: int = Field(2000, ge=1, description="optimiser steps of every classifier, whatever its arm and k")
    batch_size: int = Field(64, ge=2, description="images a step")
    precision: Precision = Field("32-true", description="number format of the training; weights stay 32 bit")
    augment: Augment = Field(
        default_factory=lambda: Augment(hflip=True, vflip=True),
        description="what arms with `augment: true` get",
    )
    oversampling: OversamplingOptions = Field(default_factory=OversamplingOptions)
    judge: ClassifierOptions = Field(default_factory=ClassifierOptions, description="the classifier")

    def unaugmented(self) -> Self:
        """Without `augment`."""
        return with_default(self, "augment")

    def negatives_of(self, k: int) -> int:
        """Real training negatives beside k real positives."""
        return max(1, round(self.ratio * k))

    def added_to(self, k: int) -> int:
        """Positives that synthesis or oversampling adds to k real ones."""
        ratio = self.augmentation_ratio
        return round((ratio if self.ar_definition == "fake_per_real" else ratio - 1) * k)

    @field_validator("positives")
    @classmethod
    def _rising(cls, positives: list[int]) -> list[int]:
        if sorted(set(positives)) != positives or positives[0] < 2:
            raise ValueError(f"{positives} must rise, from 2 or more")
        return positives

    @model_validator(mode="after")
    def _trains(self) -> Self:
        for name, arm in self.arms.items():
            where = f"arms.{name}"
            real = [part for part in arm.train if part.data == self.test]
            if arm.pretrain or len(real) != 1:
                raise ValueError(
                    f"{where}: `train` must name {self.test!r}, which is tested, once, for the real images "
                    "of both classes, beside recipes for further positives; there is no `pretrain`"
                )
            if any(part.images or part.share for part in arm.train):
                raise ValueError(
                    f"{where}: `positives` and `augmentation_ratio` decide how many images are taken; leave "
                    "out `images` and `share`"
                )
            if arm.added(self.test) and arm.balance in OVERSAMPLED:
                raise ValueError(
                    f"{where}: positives of a recipe and of `balance: {arm.balance}` cannot be told "
                    "apart; give each an arm of its own"
                )
            if arm.adds_positives(self.test) and self.added_to(self.positives[0]) < 1:
                raise ValueError(
                    f"augmentation_ratio: {self.augmentation_ratio} as {self.ar_definition} adds no positive "
                    f"to arm {name!r}; it must exceed {'0' if self.ar_definition == 'fake_per_real' else '1'}"
                )
        return self


class SetEvaluation(Entry):
    """An evaluation of a whole synthetic dataset against real images, by features of encoders."""

    evaluator: str
    real: DataName = Field(description="dataset whose training split the generator has learnt from")
    heldout: Annotated[str | None, Refers("dataset")] = Field(
        None,
        description="dataset all of whose images are real and were seen by no generator; none: the "
        "validation and test splits of `real`",
    )
    synthetic: DataName = Field(description="recipe, or dataset of synthetic images, that is judged")
    encoders: Annotated[list[str], Refers("encoder")] = Field(
        ["pixpca", "randconv", "radiomics"],
        description="names under `encoders`; each is fitted on the training split of `real` alone. `pixpca`, "
        "`randconv`, `radiomics` and `ssl` are there unwritten",
    )
    bootstrap: int = Field(
        1000,
        ge=50,
        description="resamples behind an interval or reference; distances of features take 200 of them at "
        "most, and in more than 256 dimensions fewer, down to 20",
    )
    seed: int = Field(0, ge=0, description="seed of the resampling")

    @property
    def compares_images(self) -> bool:
        """Whether images are looked at, and not only their masks."""
        return True

    @property
    def compared(self) -> list[str]:
        """Names of the datasets that are compared as a whole, whose features are extracted first."""
        return list(dict.fromkeys(name for name in (self.real, self.heldout, self.synthetic) if name))

    @property
    def encodes(self) -> bool:
        """Whether the evaluation applies its encoders itself, to images that have no features yet."""
        return False

    @field_validator("encoders")
    @classmethod
    def _encoders_differ(cls, encoders: list[str]) -> list[str]:
        if len(set(encoders)) < len(encoders):
            raise ValueError("an encoder is listed twice")
        return encoders


class FidelityEvaluation(SetEvaluation):
    """How far synthetic images lie from real ones, and whether they vary as much."""

    evaluator: Literal["fidelity"]
    compare: Literal["both", "image", "mask"] = Field(
        "both", description="what is compared; both: whichever of images and masks both sides have"
    )
    neighbours: int = Field(
        5, ge=1, description="k of precision, recall, density and coverage; published tables often have 3"
    )
    maps: MapOptions = Field(
        default_factory=MapOptions, description="images as points of a plane, for the eye alone"
    )

    @property
    def compares_images(self) -> bool:
        return self.compare != "mask"

    @property
    def encodes(self) -> bool:
        return bool(self.maps.context)

    @model_validator(mode="after")
    def _context_is_another_group(self) -> Self:
        for name, group in self.maps.context.items():
            where = f"maps.context.{name}"
            if name in COMPARED:
                raise ValueError(f"{where}: the name is kept for {name} images; take another")
            if group.data in self.compared:
                raise ValueError(
                    f"{where}.data: {group.data!r} is compared, and its images are drawn as such; name "
                    "another dataset"
                )
            if not self.compares_images:
                raise ValueError(f"{where}: `compare: mask` looks at no images and draws no maps")
        return self


class PrivacyEvaluation(SetEvaluation):
    """Whether synthetic images are new, and what they tell of the patients behind them."""

    evaluator: Literal["privacy"]
    compare: Literal["both", "image", "mask"] = Field(
        "both", description="what is searched for; both: whichever of images and masks both sides have"
    )
    near: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="a near copy is closer than this share of the median distance between a held-out real "
        "item and its nearest training item",
    )
    false_positives: float = Field(
        0.05, gt=0, lt=0.5, description="share of new real items that the copy detector may flag"
    )
    same_mask: float = Field(
        0.95, gt=0, lt=1, description="masks of a higher Dice count as one patient's, in any orientation"
    )
    novelty_margin: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="by how much synthetic items may lie nearer to training items than held-out real ones "
        "do, as a share of the held-out median distance: novelty fails where they surely lie nearer by more, "
        "and passes only where they surely do not. The default is the lower bound, 0.8, of bioequivalence",
    )
    control: CopyControl = Field(default_factory=CopyControl, description="copies that are injected")
    gate: Gate = Field(default_factory=Gate, description="limits of the release gate")

    @property
    def compares_images(self) -> bool:
        return self.compare != "mask"

    @property
    def encodes(self) -> bool:
        return True


class ObserverEvaluation(Entry, ReaderPage):
    """Whether readers tell synthetic images from real ones: a page for them, and the analysis of answers."""

    volumes = False

    evaluator: Literal["observer"]
    real: RealName = Field(description="dataset (no recipe) of the real images")
    synthetic: DataName = Field(description="recipe, or dataset of synthetic images")
    answers: list[str] = Field(
        default_factory=list,
        description="CSV files that readers sent back, or patterns such as `resources/answers/*.csv`; while "
        "there are none the page is made and waits",
    )
    margin: float = Field(
        0.1,
        gt=0,
        lt=0.5,
        description="share of right answers above and below one half that counts as guessing, in the test "
        "of equivalence; fix it before there are answers",
    )

    _one_pattern = field_validator("answers", mode="before")(listed)


EvaluationConfig = Annotated[
    SegmentationEvaluation
    | VolumeSegmentationEvaluation
    | DetectionEvaluation
    | ClassificationEvaluation
    | FidelityEvaluation
    | PrivacyEvaluation
    | ObserverEvaluation,
    Field(discriminator="evaluator"),
]


class StudyConfig(Options):
    """One question, the evaluations that answer it, and the report."""

    title: str = Field(description="title of the report")
    question: str = Field(description="what the study asks, in one sentence")
    evaluations: Annotated[list[str], Refers("evaluation")] = Field(
        min_length=1, description="names under `evaluations`"
    )
    follows: Annotated[list[str], Refers("publication")] = Field(
        default_factory=list,
        description="names under `publications`; the report lists which of their figures and tables it "
        "regenerates",
    )
    reference: str | None = Field(
        None, description="what else the study builds on, where that is no entry of `publications`"
    )
    notes: list[str] = Field(default_factory=list, description="remarks printed under the verdict")
    print: PrintOptions = Field(
        default_factory=PrintOptions, description="title page and words of the PDFs; remakes the print alone"
    )
