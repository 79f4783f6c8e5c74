"""Registry of detectors: an architecture's name to its module and class, imported on use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from mirage import seeds
from mirage.registry import resolve

if TYPE_CHECKING:
    from mirage.config.base import Options
    from mirage.detectors.base import Detector
    from mirage.generators.base import ImageSpec

DETECTORS: dict[str, str] = {"retinanet": "mirage.detectors.retinanet:RetinaNetDetector"}
"""Architecture -> ``module:class``."""


def detector_class(arch: str) -> type[Detector]:
    """Class of an architecture.

    Raises:
        ConfigError: no such architecture.
    """
    found: type[Detector] = resolve(DETECTORS, arch, "detector (`arch`)")
    return found


def build(
    arch: str,
    options: Options,
    spec: ImageSpec,
    labels: Sequence[str] | None,
    most_boxes: int,
    seed: int = 0,
) -> Detector:
    """A detector with initial weights drawn from ``seed``; the global random numbers stay as they were.

    Raises:
        ConfigError: options that do not fit the data.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.integer(seed, "init"))
        return detector_class(arch)(options, spec, labels, most_boxes)
