"""Maps of images as points: which methods draw them, and which further real images are drawn beside."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from mirage.config.base import Name, Options, RealName
from mirage.config.criteria import Criterion

Method = Literal["pca", "tsne", "umap"]
COMPARED = ("training", "heldout", "synthetic")
"""The groups that every map has; a further one has another name."""


def _distinct(methods: list[Method]) -> list[Method]:
    if len(set(methods)) < len(methods):
        raise ValueError("a method is listed twice")
    return methods


class ContextGroup(Options):
    """Real images of another kind, drawn on the maps and part of no measure."""

    data: RealName = Field(
        description="dataset of real images, stored like `real`; all its splits are drawn from"
    )
    only: Criterion | None = Field(
        None, description="those of its items that are meant, such as {attribute: label, values: [negative]}"
    )


class MapOptions(Options):
    """How images are drawn as points of a plane."""

    methods: Annotated[list[Method], AfterValidator(_distinct)] = Field(
        ["pca", "tsne"],
        min_length=1,
        description="the maps that are drawn, all of the same images; umap is compiled anew by every job "
        "that draws one, ten to twenty seconds",
    )
    items: int = Field(
        200,
        ge=12,
        le=500,
        description="images of a group that are drawn at most: one of every patient in random order, then a "
        "second one of each, and so on",
    )
    perplexity: float = Field(
        30.0, ge=2, description="t-SNE: effective number of neighbours; at most a third of the images drawn"
    )
    neighbours: int = Field(15, ge=2, description="UMAP: neighbours of an image that are to stay near it")
    min_dist: float = Field(
        0.1, ge=0, le=1, description="UMAP: how near two points may lie; less: denser clouds"
    )
    context: dict[Name, ContextGroup] = Field(
        default_factory=dict,
        max_length=3,
        description="name of a further group -> real images that are drawn beside, such as normal tissue "
        "beside lesions; no encoder, axis of principal components or measure is fitted on them",
    )
