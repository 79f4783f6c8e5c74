"""What the recipes share that put the tumour of one training subject on the brain of another."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from mirage import seeds
from mirage.data import Dataset, Item
from mirage.errors import DataError
from mirage.generators.base import ImageSpec
from mirage.preprocess.tumour_mixing import Subject, check_inside
from mirage.preprocess.volumes import AFFINE, label_volumes, nifti_affine
from mirage.recipes.base import Made, Recipe

KEPT = (AFFINE, "spacing")
"""What the names of attributes begin with that say where the voxels are; those of the brain's donor stay."""


class TumourOnBrain(Recipe):
    """Ordered pairs (A, B) of different labelled training subjects: A's tumour on B's brain.

    Pairs come in one random order, each once, then again in the same order. Masks are ``label`` and B's
    ``brain``. Where nothing of the tumour is left, the item has failed.
    """

    batch = 1

    @property
    def count(self) -> int:
        return int(self.options.count)

    @property
    def spec(self) -> ImageSpec:
        return ImageSpec.of(self._data.info)

    @property
    def mask_channels(self) -> list[str]:
        return ["label", "brain"]

    @property
    def _data(self) -> Dataset:
        return self.datasets[self.options.data]

    @cached_property
    def training(self) -> Dataset:
        """The donors."""
        return self._data.training_part(self.options).labelled()

    @cached_property
    def pairs(self) -> np.ndarray:
        """(P, 2) numbers of training items: the tumour's and the brain's, of different subjects.

        A subject that is known to have no tumour gives its brain only.
        """
        items = self.training.items
        volumes = items.filter(regex=r"^volume_.*_mm3$")
        empty = (volumes.notna().any(axis=1) & (volumes.sum(axis=1) == 0)).to_numpy()
        tumours, subjects = np.flatnonzero(~empty), items["subject_id"].to_numpy()
        order = seeds.rng(self.options.seed, "recipe/pairs").permutation(len(tumours) * len(items))
        pairs = np.stack([tumours[order // len(items)], order % len(items)], axis=1)
        return pairs[subjects[pairs[:, 0]] != subjects[pairs[:, 1]]]

    @property
    @abstractmethod
    def varies(self) -> bool:
        """Whether a pair that comes again gives another label map."""

    @abstractmethod
    def mix(
        self, donor: Item, host: Item, index: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Image (C, D, H, W), stored type, and label (D, H, W), uint8, of one item.

        Args:
            donor: the training item whose tumour is used.
            host: the training item whose brain is used.
            index: of the item to make.
            rng: its random numbers.

        Raises:
            DataError: why it cannot be made.
        """

    def check(self) -> None:
        info = self._data.info
        missing = {"label", "brain"} - set(info.mask_channels)
        if missing or len(info.image_shape) != 4:
            raise DataError(
                f"{info.name}: {self.options.recipe} needs volumes with the mask channels `label` and "
                f"`brain`; they are {info.image_shape} with {info.mask_channels}; prepare them with "
                "`kind: volume`"
            )
        if not len(self.pairs):
            raise DataError(f"{info.name}: a pair needs two labelled training subjects")
        if self.count > len(self.pairs) and not self.varies:
            raise DataError(
                f"count: {self.count} items of the {len(self.pairs)} ordered pairs of {info.name}'s "
                f"{len(self.training)} training subjects would repeat label maps; allow `mirror`, `scale` or "
                "`shift`, or lower the count"
            )

    def make(self, indices: Sequence[int]) -> Iterator[Made]:
        for index in indices:
            a, b = self.pairs[index % len(self.pairs)]
            donor, host = self.training.item(int(a)), self.training.item(int(b))
            names = self.training.items["subject_id"]
            known: dict[str, Any] = {
                "donor_subject_ids": [f"{self.training.info.namespace}/{names[i]}" for i in (a, b)],
                "mask_origin": "synthetic",
            }
            rng = seeds.rng(self.options.seed, "recipe/mix", index)
            try:
                image, label = self.mix(donor, host, index, rng)
            except DataError as error:
                yield Made(self.row(index, status="failed", reason=str(error), **known))
                continue
            brain = self.subject(host).brain
            row = self.row(index, attributes=self._attributes(host, label), **known)
            check_inside(label, brain, row.item_id)
            yield Made(row, image, {"label": label, "brain": brain})

    def subject(self, item: Item) -> Subject:
        """A training item's image, label and brain."""
        channels = self.training.info.mask_channels
        assert item.masks is not None
        label, brain = (item.masks[channels.index(name)] for name in ("label", "brain"))
        return Subject(item.image, label, (brain > 0).astype(np.uint8))

    def _attributes(self, host: Item, label: np.ndarray) -> dict[str, Any]:
        """Where the voxels are, as for the brain's donor, and how much of each label is made."""
        kept = {name: value for name, value in host.attributes.items() if name.startswith(KEPT)}
        spacing: Sequence[float] | None = self.training.info.spacing_mm
        if kept.get(AFFINE) is not None:
            spacing = np.linalg.norm(nifti_affine(kept)[:3, :3], axis=0).tolist()
        return {**kept, **label_volumes(label, self.spec.labels, spacing)}
