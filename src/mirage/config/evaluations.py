"""Evaluations: what is measured, on what, and between which arms."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from mirage.config.base import DataName, Entry, Name, Options, RealName, Refers, Seed
from mirage.config.generators import Augment, SegmenterOptions

OBSERVER_ARM = "observer2"
"""Arm under which a second observer is scored; no configured arm may take its name."""


class TrainingSet(Options):
    """One dataset of an arm's training set, or the first so many of its images."""

    data: DataName = Field(description="dataset or recipe")
    images: int | None = Field(None, ge=1, description="only so many images, by subject; none: all")

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


class ArmsEvaluation(Entry):
    """An evaluation that trains a judge on every arm with every seed and scores it on held-out images."""

    evaluator: str
    test: RealName = Field(description="dataset (no recipe) whose test split is scored")
    arms: dict[Name, Arm] = Field(min_length=1, description="name -> training set")
    baseline: str = Field("real", description="arm that the others are compared with")
    seeds: list[Seed] = Field([0, 1, 2], min_length=1, description="one judge is trained for each")

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
        return self


class SegmentationEvaluation(ArmsEvaluation):
    """A U-Net is trained on every arm and scored on held-out real images."""

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


class FidelityEvaluation(Entry):
    """How far synthetic images lie from real ones, and whether they copy them."""

    evaluator: Literal["fidelity"]
    real: DataName = Field(description="dataset whose training split the generator has learnt from")
    synthetic: DataName = Field(description="recipe that is judged")
    compare: Literal["both", "image", "mask"] = Field(
        "both", description="what is compared; both: whichever of images and masks both sides have"
    )
    bootstrap: int = Field(1000, ge=50, description="resamples behind every interval and reference")
    near: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="a near copy is closer than this share of the median distance between a held-out real "
        "item and its nearest training item",
    )
    seed: int = Field(0, ge=0, description="seed of the resampling")


EvaluationConfig = Annotated[SegmentationEvaluation | FidelityEvaluation, Field(discriminator="evaluator")]


class StudyConfig(Options):
    """One question, the evaluations that answer it, and the report."""

    title: str = Field(description="title of the report")
    question: str = Field(description="what the study asks, in one sentence")
    evaluations: Annotated[list[str], Refers("evaluation")] = Field(
        min_length=1, description="names under `evaluations`"
    )
    reference: str | None = Field(None, description="the publication that the study follows")
    published: dict[str, str] = Field(
        default_factory=dict,
        description="figure or table of `reference` -> id of the report's exhibit that regenerates it (its "
        "id stands in the report's list of figures), or `none: why not`",
        examples=[{"Figure 3": "intensity/retina_fidelity", "Figure 9": "none: a diagram"}],
    )
    notes: list[str] = Field(default_factory=list, description="remarks printed under the verdict")
