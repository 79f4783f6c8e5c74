"""Radiomic features of images: first order and texture, of a region, also after filters.

Grey levels are bins of one range for all images of the comparison, that of the training images inside the
region, so that an image that is darker or flatter than others has other features than they. Values beyond
the range fall into the first or last bin.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mirage import seeds
from mirage.config.base import Runtime
from mirage.config.encoders import RadiomicsEncoder
from mirage.data import Items
from mirage.errors import DataError
from mirage.evaluate.features.encoder import Encoder, Floats, Job, Scaling, Space
from mirage.evaluate.features.pixels import resized
from mirage.evaluate.features.textures import discretise, first_order, texture
from mirage.preprocess.brain import background_of, brain_mask
from mirage.preprocess.fov import derive_fov

Region = npt.NDArray[np.bool_]
FIT_IMAGES, FIT_VALUES = 1000, 4096
"""Training images that the range of grey levels is read from, and values taken of each."""
RANGE_PERCENTILES = (0.1, 99.9)
FOREGROUNDS = ("fov", "brain")
"""Mask channels that are a foreground."""
REGIONS = {
    "": "whole image",
    "fov": "field of view, found in every image by threshold",
    "brain": "brain, found in every volume as what is no background",
    "label": "what is labelled",
}
"""Mask channel of the real dataset -> what is described."""


class Radiomics(Encoder):
    """First-order and texture features of every channel and filtered channel.

    Weights: ``edges`` float64 (filters * channels, bins + 1), the borders of the grey levels; ``names``, the
    features' names as JSON in bytes; ``region``, a key of :data:`REGIONS`, likewise.
    """

    scaling: ClassVar[Scaling] = "each"
    parallel: ClassVar[bool] = True
    entry: RadiomicsEncoder

    @classmethod
    def fit(cls, entry: RadiomicsEncoder, training: Items, job: Job) -> Self:
        volumes = len(training.info.image_shape) == 4
        space = Space.of(training, entry.side or (64 if volumes else 128))
        fitted = cls(entry, space, {"region": _text(_region_channel(entry, training))})
        order = seeds.rng(entry.seed, "encode/radiomics").permutation(len(training))[:FIT_IMAGES]
        values = [fitted._some_values(training, int(index)) for index in np.sort(order)]
        low, high = np.percentile(np.concatenate(values, axis=1), RANGE_PERCENTILES, axis=1)
        high = np.maximum(high, low + 1e-6)  # images without any contrast
        fitted.weights["edges"] = np.linspace(low, high, entry.bins + 1, axis=1)
        fitted.weights["names"] = _text(list(fitted._features(training, 0)))
        return fitted

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(json.loads(self.weights["names"].tobytes()))

    def protocol(self) -> dict[str, object]:
        return {**super().protocol(), "region": REGIONS[self._channel]}

    def encode(self, data: Items, indices: Sequence[int], runtime: Runtime) -> Floats:
        rows = [list(self._features(data, index).values()) for index in indices]
        return np.array(rows, dtype=np.float32)

    @property
    def _channel(self) -> str:
        """Key of :data:`REGIONS`."""
        return str(json.loads(self.weights["region"].tobytes()))

    def _features(self, data: Items, index: int) -> dict[str, float]:
        image, region = self._read(data, index)
        found: dict[str, float] = {}
        for number, (name, plane) in enumerate(self._planes(image)):
            levels = discretise(plane, region, self.weights["edges"][number])
            features = first_order(plane[region], levels[region])
            features = {f"first_order_{key}": value for key, value in features.items()}
            features |= texture(levels, self.entry.bins)
            found |= {f"{name}_{key}": value for key, value in features.items()}
        return found

    def _read(self, data: Items, index: int) -> tuple[Floats, Region]:
        image = self.space.image(data, index)
        region = _region(data, index, self._channel)
        if region is None:
            return image, np.ones(self.space.size, bool)
        region = resized(region[None].astype(np.float32), self.space.size)[0] >= 0.5
        if not region.any() and self._channel in FOREGROUNDS:  # a speck, smaller than a voxel by now
            return image, np.ones(self.space.size, bool)
        if not region.any():
            raise DataError(
                f"{data.info.name}: {data.items['item_id'].iloc[index]} has an empty {self._channel!r} mask, "
                "there is no region to describe; use `region: image`, or leave such images out"
            )
        return image, region

    def _planes(self, image: Floats) -> Iterator[tuple[str, Floats]]:
        """Every channel, and every channel after each filter, with its name."""
        for name, channel in zip(self.space.channels, image, strict=True):
            yield name, channel
            for sigma in self.entry.log_sigmas:
                yield f"{name}_log_{sigma:g}", sigma**2 * ndimage.gaussian_laplace(channel, sigma)
            if self.entry.wavelet:
                yield from ((f"{name}_wavelet_{band}", part) for band, part in haar(channel))

    def _some_values(self, data: Items, index: int) -> Floats:
        """Values (planes, at most FIT_VALUES) from an item's region, at places spread evenly."""
        image, region = self._read(data, index)
        inside = np.flatnonzero(region)
        places = inside[:: max(1, -(-len(inside) // FIT_VALUES))]
        return np.stack([plane.ravel()[places] for _, plane in self._planes(image)])


def haar(values: Floats) -> Iterator[tuple[str, Floats]]:
    """Bands of one level of the undecimated Haar wavelet, each as large as the image: ``ll``, ``lh`` ...

    A letter an axis. Low is the mean of a place and the next, high half their difference; edges are repeated.
    """
    bands, half = {"": values}, np.float32(0.5)
    for axis in range(values.ndim):
        split: dict[str, Floats] = {}
        for name, band in bands.items():
            following = band.take([*range(1, band.shape[axis]), band.shape[axis] - 1], axis)
            split |= {f"{name}l": half * (band + following), f"{name}h": half * (band - following)}
        bands = split
    yield from bands.items()


def _region_channel(entry: RadiomicsEncoder, training: Items) -> str:
    """Key of :data:`REGIONS`."""
    stored = training.info.mask_channels
    if entry.region == "label" and "label" not in stored:
        raise DataError(f"{training.info.name}: `region: label` needs label masks; it has {stored or 'none'}")
    if entry.region == "label":
        return "label"
    wanted = FOREGROUNDS if entry.region == "foreground" else ()
    return next((channel for channel in wanted if channel in stored), "")


def _region(data: Items, index: int, channel: str) -> Region | None:
    """The region of an item, of its stored size; None for the whole image.

    A foreground is found in the image, also where one is stored: real and synthetic images are to be cut out
    by one rule, and few synthetic ones have it stored. Where nothing but background is found the whole image
    is described: a blank image is a bad one, which the comparison has to see.
    """
    if channel == "fov":
        return derive_fov(data.image(index)) > 0
    if channel == "brain":
        image = data.image(index)
        try:
            return brain_mask(image, [background_of(volume) for volume in image]) > 0
        except DataError:  # nothing but background
            return None
    return data.mask(index, channel) > 0 if channel else None


def _text(value: str | list[str]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)
