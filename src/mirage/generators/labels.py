"""Label masks as tensors in [-1, 1] and back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from mirage.errors import DataError


class LabelCode:
    """One channel for a single label, else one-hot channels with the background first; -1 absent, 1 present.

    Args:
        labels: value -> name, without the background 0.
    """

    def __init__(self, labels: Mapping[int, str]) -> None:
        self.values = np.array([0, *sorted(labels)], np.uint8)
        self._index = np.full(256, -1, np.int64)
        self._index[self.values] = np.arange(len(self.values))
        self.binary = len(labels) == 1
        self.channels = 1 if self.binary else len(self.values)

    def index(self, label: np.ndarray) -> np.ndarray:
        """Label mask of any shape, uint8, to the places of its values among ``values``, int64.

        Raises:
            DataError: a value that is no label.
        """
        index: np.ndarray = self._index[label]
        if index.min() < 0:
            odd = sorted(set(np.unique(label).tolist()) - set(self.values.tolist()))
            raise DataError(
                f"label mask holds {odd}, the labels are {self.values[1:].tolist()}; "
                "correct `labels` or `mask_polarity` of the source, or leave out items without a label"
            )
        return index

    def encode(self, label: np.ndarray) -> Tensor:
        """Label mask (H, W) or (D, H, W), uint8, to (channels, ...), float32.

        Raises:
            DataError: a value that is no label.
        """
        index = self.index(label)
        classes = np.arange(self.channels).reshape(-1, *[1] * label.ndim)
        present = index[None] if self.binary else index[None] == classes
        return torch.from_numpy(present.astype(np.float32)) * 2 - 1

    def decode(self, tensors: Tensor) -> np.ndarray:
        """(N, channels, ...) to label masks (N, 1, ...), uint8: above 0, or the largest channel."""
        index = tensors[:, 0] > 0 if self.binary else tensors.argmax(dim=1)
        masks: np.ndarray = self.values[index.long().cpu().numpy()][:, None]
        return masks
