"""The stream of batches: what a step sees is a pure function of the seed and the step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import lcm

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mirage import seeds
from mirage.config.generators import Augment, TrainingOptions
from mirage.data import Items
from mirage.errors import ConfigError, DataError
from mirage.training.trainable import Trainable

Ticket = tuple[int, int, int]
"""Step, position in the step's batch, item."""


def step_items(seed: int, step: int, batch_size: int, items: int, distinct: bool = False) -> np.ndarray:
    """Items of a step: consecutive pieces of an endless row of shuffled epochs.

    Args:
        seed: the training seed.
        step: from 0.
        batch_size: items of a step.
        items: items there are; at least ``batch_size`` where they must be distinct.
        distinct: end an epoch before the batch that would reach into the next one.

    Returns:
        (batch_size,) item numbers; within an epoch every item comes once, at most once where ``distinct``.
    """
    length = items - items % batch_size if distinct else items
    places = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs = {
        int(epoch): seeds.rng(seed, "epoch", int(epoch)).permutation(items)
        for epoch in np.unique(places // length)
    }
    return np.array([epochs[int(place // length)][place % length] for place in places])


def micro_batches(options: TrainingOptions, ranks: int) -> int:
    """Micro-batches that a step's batch is cut into: ``accumulate``, shared out among the ranks.

    So 1 and 4 devices compute the same step with ``accumulate: 4``, also where networks have batch norm,
    whose statistics are those of a micro-batch. Where ranks do not divide it, their least common multiple.
    An image pool is each rank's own, so a model with one depends on the number of ranks all the same.
    """
    return lcm(options.accumulate, ranks)


class Examples(Dataset):
    """Training examples of a model, one for each ticket."""

    def __init__(self, model: Trainable, data: Items, augment: Augment, seed: int) -> None:
        self.model, self.data, self.augment, self.seed = model, data, augment, seed

    def __getitem__(self, ticket: Ticket) -> dict[str, Tensor]:
        step, position, index = ticket
        rng = seeds.rng(self.seed, "augment", step, position)
        return self.model.example(self.data.item(index), rng, self.augment)


def tickets(
    seed: int, start: int, options: TrainingOptions, items: int, distinct: bool, rank: int, ranks: int
) -> Iterator[list[Ticket]]:
    """Micro-batches of one rank from step ``start`` on: of those of a step, rank r takes r, r + ranks, ..."""
    pieces = micro_batches(options, ranks)
    size = options.batch_size // pieces
    for step in range(start, options.steps):
        batch = step_items(seed, step, options.batch_size, items, distinct)
        for piece in range(rank, pieces, ranks):
            yield [(step, place, int(batch[place])) for place in range(piece * size, (piece + 1) * size)]


def batches(
    model: Trainable,
    data: Items,
    options: TrainingOptions,
    seed: int,
    start: int = 0,
    *,
    rank: int = 0,
    ranks: int = 1,
    workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[tuple[int, list[dict[str, Tensor]]]]:
    """Yield (step, micro-batches of this rank) for every step from ``start`` on.

    Raises:
        DataError: no items, fewer than a batch of distinct ones needs, or of another shape than the model's.
        ConfigError: the batch cannot be cut evenly.
    """
    if len(data) == 0:
        raise DataError("the training split has no items; check `split` of the dataset and its failed rows")
    if data.info.image_shape != model.image_shape:
        raise DataError(f"training images are {data.info.image_shape}, the model is for {model.image_shape}")
    if model.distinct_items and len(data) < options.batch_size:
        raise DataError(
            f"a batch of {options.batch_size} different items cannot be made of {len(data)} training items; "
            "lower training.batch_size, or give the training split more"
        )
    pieces = micro_batches(options, ranks)
    if options.batch_size % pieces:
        raise ConfigError(
            f"training.batch_size: {options.batch_size} cannot be cut into {pieces} equal micro-batches for "
            f"{ranks} device(s) and training.accumulate {options.accumulate}; make it a multiple of {pieces}"
        )
    chunks: Iterable[dict[str, Tensor]] = DataLoader(
        Examples(model, data, options.augment, seed),
        batch_sampler=tickets(seed, start, options, len(data), model.distinct_items, rank, ranks),
        num_workers=workers,
        pin_memory=pin_memory,
        # Otherwise the loader draws its workers' seed from the global random numbers.
        generator=torch.Generator(),
    )
    stream = iter(chunks)
    for step in range(start, options.steps):
        yield step, [next(stream) for _ in range(pieces // ranks)]
