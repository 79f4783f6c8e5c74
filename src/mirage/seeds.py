"""Deterministic seeds, spawned from (seed, stage, index) and from nothing else.

The index is the item's or the step's, never the shard's or the worker's, so resharding, resuming and
changing the number of workers leave every random number as it was.
"""

from __future__ import annotations

import zlib

import numpy as np


def sequence(seed: int, stage: str, *index: int) -> np.random.SeedSequence:
    """Seed sequence of one item (or step) of one stage.

    Args:
        seed: the user's seed, >= 0.
        stage: a fixed word such as ``"train"`` or ``"sample"``.
        index: item, step, phase ... all >= 0.
    """
    return np.random.SeedSequence(entropy=seed, spawn_key=(zlib.crc32(stage.encode()), *index))


def rng(seed: int, stage: str, *index: int) -> np.random.Generator:
    """NumPy generator of one item (or step) of one stage."""
    return np.random.default_rng(sequence(seed, stage, *index))


def integer(seed: int, stage: str, *index: int) -> int:
    """A seed in [0, 2**63) for libraries that take one integer, such as ``torch.manual_seed``."""
    return int(sequence(seed, stage, *index).generate_state(1, np.uint64)[0] >> 1)
