"""Principal components of small images' pixels.

Scores of the leading components are Euclidean coordinates: distances between them are distances between
images, as far as the components go. They see layout, brightness and colour, and no fine texture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from scipy.linalg import eigh

from mirage import seeds
from mirage.config.base import Runtime
from mirage.config.encoders import PixelPcaEncoder
from mirage.data import Items
from mirage.evaluate.features.encoder import Encoder, Floats, Job, Scaling, Space

MAX_VALUES = 1 << 26
"""Pixels that are held in memory while components are sought, 256 MB; of more images some are drawn."""


class PixelPca(Encoder):
    """Scores of images on the principal components of the training images.

    Weights: ``mean`` (P,) and ``components`` (K, P), float32, of the P pixels or voxels of all channels.
    """

    scaling: ClassVar[Scaling] = "all"
    entry: PixelPcaEncoder

    @classmethod
    def fit(cls, entry: PixelPcaEncoder, training: Items, job: Job) -> Self:
        volumes = len(training.info.image_shape) == 4
        space = Space.of(training, entry.side or (32 if volumes else 64))
        drawn = max(1, MAX_VALUES // (len(space.channels) * int(np.prod(space.size))))
        order = seeds.rng(entry.seed, "encode/pixpca").permutation(len(training))
        pixels = np.stack([space.image(training, int(i)).reshape(-1) for i in np.sort(order[:drawn])])
        mean = pixels.mean(axis=0, dtype=np.float64).astype(np.float32)
        pixels -= mean
        wanted = max(1, min(entry.components, len(training) // 5))
        return cls(entry, space, {"mean": mean, "components": principal_components(pixels, wanted)})

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"component_{number}" for number in range(1, len(self.weights["components"]) + 1))

    def encode(self, data: Items, indices: Sequence[int], runtime: Runtime) -> Floats:
        pixels = np.stack([self.space.image(data, index).reshape(-1) for index in indices])
        return (pixels - self.weights["mean"]) @ self.weights["components"].T


def principal_components(centred: Floats, wanted: int) -> Floats:
    """Orthonormal directions (K, P) of most variance of rows (N, P) with mean 0, the first first.

    K is ``wanted``, or fewer where the rows span fewer; 1 at least, which is zero for equal rows. Each points
    to where its largest entry is positive, so that repetitions agree.
    """
    count, places = centred.shape
    few = count <= places
    products = (centred @ centred.T if few else centred.T @ centred).astype(np.float64)
    size = len(products)
    values, vectors = eigh(products, subset_by_index=(max(0, size - wanted), size - 1))
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = int(np.count_nonzero(values > 1e-6 * max(values[0], 1e-12)))
    if not kept:
        return np.zeros((1, places), np.float32)
    found = vectors[:, :kept].T @ centred if few else vectors[:, :kept].T
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    largest = np.take_along_axis(found, np.abs(found).argmax(axis=1, keepdims=True), axis=1)
    return (found * np.where(largest < 0, -1, 1)).astype(np.float32)
