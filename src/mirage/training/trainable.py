"""What the training loop asks of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from mirage.config.generators import Augment
from mirage.data import Item, Items


class Criterion(ABC):
    """What weights are chosen by, where that is not the model's own validation metric.

    Attributes:
        name: of its values in the history.
        mode: whether ``min`` or ``max`` is best.
        words: what it is, for a reader: of how many items, by which means.
        fingerprint: changes whenever its values may.
    """

    fingerprint: str
    name: str
    mode: Literal["min", "max"]
    words: str

    @abstractmethod
    def __call__(self, model: Trainable, validation: Items, training: Items) -> dict[str, float]:
        """Metrics of the present weights on held-out items; ``name`` must be among them."""


class Trainable(nn.Module, ABC):
    """A module of several networks, each with its own optimiser.

    Class attributes:
        phases: submodules that are trained, in this order, in every step that ``interval`` does not leave
            out. A phase may leave tensors in the batch for the phases after it.
        sampling_modules: submodules that sampling needs; averaged weights and checkpoints hold these.
        spatial_dims: 2 for images, 3 for volumes.
        channels_last: memory layout; pays for plain convolution stacks. ``cpu``: on this device only.
        distinct_items: a batch never holds an item twice; items left over at the end of an epoch are left out
            of it.
        metric_name, metric_mode: what ``validation_metric`` returns first and whether less is better.
    """

    phases: tuple[str, ...]
    sampling_modules: ClassVar[tuple[str, ...]]
    spatial_dims: ClassVar[int] = 2
    channels_last: ClassVar[bool | Literal["cpu"]] = False
    distinct_items: ClassVar[bool] = False
    metric_name: ClassVar[str]
    metric_mode: ClassVar[Literal["min", "max"]]

    image_shape: tuple[int, ...]
    """(C, H, W) or (C, D, H, W) of the stored images it learns from."""

    @property
    def discriminators(self) -> tuple[str, ...]:
        """Submodules that are trained and that sampling does without."""
        return tuple(name for name in self.phases if name not in self.sampling_modules)

    @abstractmethod
    def example(
        self, item: Item, rng: np.random.Generator | None = None, augment: Augment | None = None
    ) -> dict[str, Tensor]:
        """A stored item to float32 tensors in model range; without ``rng`` nothing is random."""

    @abstractmethod
    def training_step(self, batch: dict[str, Tensor], phase: str) -> dict[str, Tensor]:
        """Losses (scalars) of one phase; the loop minimises their sum."""

    @abstractmethod
    def configure_optimizer(self, phase: str, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """Optimiser of one phase."""

    def learning_rate_factor(self, phase: str, done: float) -> float:
        """What the learning rates of a phase's optimiser are multiplied by in a step.

        Args:
            phase: name of the phase.
            done: share of the training's steps that lie behind, in [0, 1).
        """
        return 1.0

    def interval(self, phase: str) -> int:
        """A phase's network is trained in the last of so many steps; 1: in every step."""
        return 1

    @abstractmethod
    def validation_metric(self, validation: Items, training: Items) -> dict[str, float]:
        """Metrics of the present weights on held-out items; ``metric_name`` must be among them."""

    @abstractmethod
    def preview(self, items: Sequence[Item]) -> np.ndarray:
        """Panels (rows, columns, H, W, 3), uint8, for stored items and fixed noise."""

    def extra_state(self) -> dict[str, Any]:
        """State beside weights that resuming needs: tensors, numbers, strings and containers of them."""
        return {}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Take back what ``extra_state`` gave."""
