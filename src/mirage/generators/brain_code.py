"""The condition of a brain: labels of a tumour on a brain mask as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from mirage.errors import ConfigError

SCALARS = {"NCR": 2.0, "ED": 3.0, "ET": 5.0, "RC": 4.0}
"""The raw code of BraTS until 2022 plus 1 for the brain that a label lies on; 4 was free there."""


class BrainCode:
    """Codes labels and brain mask as one tensor, in which nothing lies outside the brain.

    one_hot: channels background, healthy brain and each label by ascending value, 1 where present and -1
    elsewhere. scalar: one channel of 0 background, 1 healthy brain, and ``SCALARS``.

    Args:
        labels: value -> name, without the background 0.
        coding: ``one_hot`` or ``scalar``.

    Raises:
        ConfigError: a label without a scalar code.
    """

    def __init__(self, labels: Mapping[int, str], coding: Literal["one_hot", "scalar"]) -> None:
        self.values = sorted(labels)
        self.scalar = coding == "scalar"
        unknown = [name for name in labels.values() if self.scalar and name not in SCALARS]
        if unknown:
            raise ConfigError(
                f"options.coding: the labels {unknown} have no scalar code, only {list(SCALARS)} have; "
                "use one_hot"
            )
        self.codes = [0.0, 1.0, *(SCALARS.get(labels[value], 0.0) for value in self.values)]
        self.channels = 1 if self.scalar else len(self.codes)

    def encode(self, label: Tensor, brain: Tensor) -> Tensor:
        """Label map and brain mask (N, D, H, W), uint8, to (N, channels, D, H, W), float32.

        Labels outside the brain are cut off; a voxel of the brain without one of the labels is healthy.
        """
        inside = brain > 0
        present = [inside & (label == value) for value in self.values]
        healthy = inside & ~torch.stack(present).any(dim=0)
        maps = torch.stack([~inside, healthy, *present], dim=1)
        if not self.scalar:
            return maps.float() * 2 - 1
        codes = torch.tensor(self.codes, device=maps.device).view(1, -1, 1, 1, 1)
        return (maps * codes).sum(dim=1, keepdim=True)

    def brain(self, condition: Tensor) -> Tensor:
        """The brain (N, 1, D, H, W), bool, of conditions (N, channels, D, H, W)."""
        return condition > 0 if self.scalar else condition[:, :1] < 0

    def tumour(self, condition: Tensor) -> Tensor:
        """Voxels with any label (N, 1, D, H, W), bool, of conditions (N, channels, D, H, W)."""
        return condition > 1 if self.scalar else (condition[:, 2:] > 0).any(dim=1, keepdim=True)
