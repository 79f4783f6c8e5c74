"""DeepMedic as a generator of label masks: what it is trained on, and how it labels a whole volume."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mirage.config.generators import Augment
from mirage.config.judges import DeepMedicOptions
from mirage.data import Item
from mirage.generators.base import ImageSpec
from mirage.generators.volume_segmenter import VolumeSegmenter
from mirage.networks.deepmedic import VARIANTS, DeepMedic
from mirage.preprocess.windows import FIELD, anchored_tiles, beyond, crop, mirrored, positions, tile_starts
from mirage.training.rmsprop import RMSProp

HALVED_AFTER = tuple(epoch / 35 for epoch in (17, 22, 27, 30, 33))
"""Shares of the steps after which the learning rate is halved: the program's epochs of 35."""
CPU_TILE_BYTES = 2**30
Tile = Sequence[tuple[int, int]]
"""(first voxel labelled, voxels labelled) along each axis."""


class DeepMedicSegmenter(VolumeSegmenter):
    """DeepMedic (Kamnitsas 2017) as its public program 0.8.4 trains and applies it.

    A training segment is centred, inside the brain, on a class drawn among those that the subject has, so
    that all classes have equal shares; a centre whose segment would leave the volume mirrored outwards by
    8 voxels is not taken. In one point it differs from the program: a mirrored segment is cut out of the
    mirrored volume, so that the subsampled pathways keep their place in it.

    Args:
        options: network, intensities, segments, tiles, optimiser.
        spec: volumes with labels.

    Raises:
        ConfigError: images instead of volumes, or volumes that a segment does not fit.
        DataError: the data have no labels.
    """

    arch = "deepmedic"
    options_class = DeepMedicOptions

    def __init__(self, options: DeepMedicOptions, spec: ImageSpec) -> None:
        super().__init__(options, spec)
        self.labelled = options.segment - FIELD + 1
        variant = VARIANTS[options.variant]
        if options.width < 1:
            variant = variant.scaled(options.width)
        self.net = DeepMedic(self.image_shape[0], self.classes, variant)
        self.factors = (1, *variant.factors)
        self._corners = (slice(None), *(slice(None, None, extent - 1) for extent in self.extent))

    def example(
        self, item: Item, rng: np.random.Generator | None = None, augment: Augment | None = None
    ) -> dict[str, Tensor]:
        """``window0``, ``window1`` ... (C, d, h, w) of the pathways and ``target`` (s, s, s), int64.

        Without ``rng`` the segment in the middle of the volume, unchanged. ``augment`` is not looked at:
        the options say how segments are changed.
        """
        brain = self.brain(item)
        if rng is None:
            starts = [(extent - self.labelled) // 2 for extent in self.extent]
        else:
            starts = self._segment(self.mask(item.masks, "label"), brain, rng)
        flip = self.mirrored(rng)
        intensities = self.intensities(item, brain)
        corner = corner_mean(intensities.apply(item.image[self._corners]))
        windows = []
        for factor in self.factors:
            axes, far = self._axes([(start, self.labelled) for start in starts], factor, 0, flip)
            windows.append(torch.where(far, corner, intensities.apply(crop(item.image, axes))))
        axes = [np.arange(start, start + self.labelled) for start in starts]
        if flip:
            axes[-1] = axes[-1][::-1]
        named = {
            f"window{number}": window
            for number, window in enumerate(self.changed(windows, self.options.augment, rng))
        }
        return {**named, "target": self.target(item, axes)}

    def _segment(self, label: np.ndarray, brain: np.ndarray, rng: np.random.Generator) -> list[int]:
        """First labelled voxel of a segment on each axis; any place where no class can be centred."""
        centre = (self.labelled - 1) // 2
        places = [extent - self.labelled + 1 for extent in self.extent]
        inner = tuple(slice(centre, centre + count) for count in places)
        label, brain = label[inner], brain[inner]
        for value in rng.permutation(self.code.values):
            found = np.flatnonzero(brain & (label == value))
            if len(found):
                return [int(place) for place in np.unravel_index(rng.choice(found), places)]
        return [int(rng.integers(count)) for count in places]

    def _axes(
        self, tile: Tile, factor: int, context: int, flip: bool = False
    ) -> tuple[list[np.ndarray], Tensor]:
        """Where a pathway's window lies: coordinates along each axis, and what is too far out (d, h, w).

        With ``flip`` the tile is one of the volume mirrored along its last axis, at the mirrored place.
        """
        places = [positions(start, size, factor, context) for start, size in tile]
        if flip:
            start, size = tile[-1]
            places[-1] = positions(self.extent[-1] - start - size, size, factor, context)
        axes = [mirrored(place, extent) for place, extent in zip(places, self.extent, strict=True)]
        if flip:
            axes[-1] = self.extent[-1] - 1 - axes[-1]
        if factor == 1:
            return axes, torch.zeros(1, 1, 1, dtype=torch.bool)
        d, h, w = (beyond(place, extent) for place, extent in zip(places, self.extent, strict=True))
        return axes, torch.from_numpy(d[:, None, None] | h[:, None] | w)

    def training_step(self, batch: dict[str, Tensor], phase: str) -> dict[str, Tensor]:
        logits = self.net([batch[f"window{number}"] for number in range(len(self.factors))])
        likelihood = logits.float().softmax(dim=1).gather(1, batch["target"][:, None])
        weights = self.net.weights()
        size = sum((weight.abs().sum() for weight in weights), torch.zeros((), device=logits.device))
        squares = sum((weight.square().sum() for weight in weights), torch.zeros((), device=logits.device))
        return {
            "cross_entropy": -(likelihood + 1e-6).log().mean(),
            "penalty": self.options.l1 * size + self.options.l2 * squares,
        }

    def configure_optimizer(self, phase: str, parameters: Iterable[nn.Parameter]) -> Optimizer:
        return RMSProp(parameters, self.options.lr, self.options.momentum)

    def learning_rate_factor(self, phase: str, done: float) -> float:
        """Halved at fixed shares of the steps."""
        return float(0.5 ** sum(done >= share for share in HALVED_AFTER))

    def fill(self, probabilities: Tensor, image: Tensor, inside: Tensor) -> None:
        corner = corner_mean(image[self._corners])
        context = 0 if self.options.tile else self.net.context
        for tile in self._tiles(inside):
            window = tuple(slice(start, start + size) for start, size in tile)
            if not inside[window].any():
                continue
            windows = []
            for factor in self.factors:
                axes, far = self._axes(tile, factor, context)
                d, h, w = (torch.from_numpy(places).to(image.device) for places in np.ix_(*axes))
                seen = image[:, d, h, w]
                windows.append(torch.where(far.to(image.device), corner, seen)[None])
            logits = self.net(windows, context=not self.options.tile)[0]
            probabilities[(slice(None), *window)] = logits.float().softmax(dim=0)

    def _tiles(self, inside: Tensor) -> Iterator[Tile]:
        """Tiles that cover the brain.

        Without ``options.tile`` they start at multiples of the subsampling factors, so that every voxel is
        seen through the same grid whatever the tiles are.
        """
        if self.options.tile:
            sizes = [min(self.options.tile - FIELD + 1, extent) for extent in self.extent]
            starts = [tile_starts(extent, size) for extent, size in zip(self.extent, sizes, strict=True)]
            for d in starts[0]:
                for h in starts[1]:
                    for w in starts[2]:
                        yield list(zip((d, h, w), sizes, strict=True))
            return
        found = [
            inside.flatten(1).any(1),
            inside.transpose(0, 1).flatten(1).any(1),
            inside.flatten(0, 1).any(0),
        ]
        ends = [(int(along.nonzero()[0]), int(along.nonzero()[-1]) + 1) for along in found]
        low, high = zip(*ends, strict=True)
        yield from anchored_tiles(low, high, math.lcm(*self.factors), self._voxels_a_tile())

    def _voxels_a_tile(self) -> int:
        """Voxels labelled at once: what fits into 1 GiB on a CPU, into half of the free memory of a GPU."""
        variant = self.net.variant
        values = len(self.factors) * variant.maps[-1] + 5 * max(variant.hidden)
        if self.device.type == "cuda":
            return int(torch.cuda.mem_get_info(self.device)[0] // (2 * 4 * values))
        return CPU_TILE_BYTES // (4 * values)


def corner_mean(corners: Tensor) -> Tensor:
    """Mean (C, 1, 1, 1) of eight corner voxels (C, 2, 2, 2): what lies too far outside a volume."""
    return corners.contiguous().mean(dim=(1, 2, 3), keepdim=True)
