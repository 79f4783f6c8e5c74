"""What all encoders share: how they are fitted, stored, read again and applied."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mirage.config.base import Runtime
from mirage.data import Items
from mirage.errors import CheckpointError, DataError
from mirage.evaluate.features.pixels import RANGE, RESIZE, fitting_size, resized, scaled
from mirage.files import atomic_path, file_digest, read_json, write_json

Floats = npt.NDArray[np.float32]
Scaling = Literal["none", "each", "all"]
SCALINGS: dict[Scaling, str] = {
    "none": "as they are",
    "each": "each feature has mean 0 and standard deviation 1 over the training split",
    "all": "mean 0 and, averaged over the features, variance 1 over the training split",
}


@dataclass(frozen=True)
class Space:
    """What images have to be like for an encoder, and what they are made.

    Attributes:
        channels: names of their channels.
        size: (H, W) or (D, H, W) that they are resized to.
    """

    channels: tuple[str, ...]
    size: tuple[int, ...]

    @classmethod
    def of(cls, data: Items, side: int) -> Self:
        """That of a dataset, its images shrunk so that their longest side is at most ``side``."""
        return cls(tuple(data.info.channel_names), fitting_size(data.info.image_shape[1:], side))

    def image(self, data: Items, index: int) -> Floats:
        """An item's image (C, *size), float32, 0 ... 1."""
        return resized(scaled(data.image(index), data.info.value_range), self.size)


@dataclass(frozen=True)
class Job:
    """Where an encoder is fitted.

    Attributes:
        runtime: device, threads and workers.
        state: folder of a resumable training.
        validation: the validation split of the real dataset.
        minutes: wall time that is left, or None for no limit.
    """

    runtime: Runtime
    state: Path
    validation: Items
    minutes: float | None = None


class Encoder(ABC):
    """A fitted encoder.

    Class attributes:
        on_device: whether it computes on a GPU where there is one.
        parallel: whether several processes encode batches side by side; for encoders that keep one core busy.
        scaling: what is done to its features; see :data:`SCALINGS`. Decided by the training split of the real
            dataset, and the same for all tables.
        region: what of an image it looks at, in words.

    Args:
        entry: options.
        space: what images are made.
        weights: arrays by name, all that was fitted.
    """

    on_device: ClassVar[bool] = False
    parallel: ClassVar[bool] = False
    scaling: ClassVar[Scaling] = "none"
    region: ClassVar[str] = "whole image"

    def __init__(self, entry: Any, space: Space, weights: Mapping[str, np.ndarray]) -> None:
        self.entry, self.space, self.weights = entry, space, dict(weights)

    @classmethod
    @abstractmethod
    def fit(cls, entry: Any, training: Items, job: Job) -> Self:
        """Fit it on the training split of a real dataset."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of the features."""

    @abstractmethod
    def encode(self, data: Items, indices: Sequence[int], runtime: Runtime) -> Floats:
        """Features (len(indices), D) of a few items, before scaling."""

    def protocol(self) -> dict[str, Any]:
        """What decides its features beside options and weights, in words and numbers."""
        return {
            "range": RANGE,
            "channels": list(self.space.channels),
            "size": list(self.space.size),
            "resize": RESIZE,
            "region": self.region,
            "scaling": SCALINGS[self.scaling],
        }

    def check(self, data: Items) -> None:
        """Refuse a dataset whose images are of another kind than those it was fitted on.

        Raises:
            DataError: other channels, or volumes instead of images.
        """
        found = tuple(data.info.channel_names), len(data.info.image_shape) - 1
        if found != (self.space.channels, len(self.space.size)):
            raise DataError(
                f"{data.info.name}: its images have channels {found[0]} and {found[1]} dimensions, the "
                f"encoder was fitted on {self.space.channels} and {len(self.space.size)}; prepare both "
                "alike, or let the evaluation compare masks alone (`compare: mask`)"
            )


def save_encoder(folder: Path, encoder: Encoder, facts: Mapping[str, Any]) -> None:
    """Write an encoder's folder; ``encoder.json``, written last, makes it whole."""
    with atomic_path(folder / "weights.safetensors") as temporary:
        save_file({key: np.ascontiguousarray(array) for key, array in encoder.weights.items()}, temporary)
    write_json(
        folder / "encoder.json",
        {
            "encoder": folder.name,
            "options": encoder.entry.model_dump(mode="json", exclude={"runtime", "demo"}),
            "space": {"channels": list(encoder.space.channels), "size": list(encoder.space.size)},
            "protocol": encoder.protocol(),
            "names": list(encoder.names),
            "weights_sha256": file_digest(folder / "weights.safetensors"),
            **facts,
        },
    )


def read_folder(folder: Path) -> tuple[dict[str, Any], Space, dict[str, np.ndarray]]:
    """Facts, space and weights of a stored encoder.

    Raises:
        CheckpointError: a file is missing or damaged, or the weights are not those it describes.
    """
    try:
        facts = read_json(folder / "encoder.json")
        if file_digest(folder / "weights.safetensors") != facts["weights_sha256"]:
            raise ValueError("the weights are not those that encoder.json describes")
        space = Space(tuple(facts["space"]["channels"]), tuple(facts["space"]["size"]))
        return facts, space, load_file(folder / "weights.safetensors")
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder}: not a readable encoder ({type(error).__name__}: {error}); delete the folder and run "
            "again"
        ) from error
