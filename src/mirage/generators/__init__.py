"""Registry of generators: an architecture's name to its module and class, imported on use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mirage import seeds
from mirage.registry import resolve

if TYPE_CHECKING:
    from mirage.config.base import Options
    from mirage.config.generators import GeneratorEntry
    from mirage.generators.base import Generator, ImageSpec

GENERATORS: dict[str, str] = {
    "aot_gan": "mirage.generators.aot_gan:AOTGAN",
    "conditional_dcgan": "mirage.generators.conditional_dcgan:ConditionalDCGAN",
    "contextual_attention": "mirage.generators.contextual_attention:ContextualAttention",
    "dcgan": "mirage.generators.dcgan:DCGAN",
    "deepmedic": "mirage.generators.deepmedic:DeepMedicSegmenter",
    "label_to_brain": "mirage.generators.label_to_brain:LabelToBrain",
    "pix2pix": "mirage.generators.pix2pix:Pix2Pix",
    "segmenter": "mirage.generators.segmenter:Segmenter",
    "segmenter3d": "mirage.generators.segmenter3d:Segmenter3D",
    "wgan_gp": "mirage.generators.wgan_gp:WGANGP",
}
"""Architecture -> ``module:class``."""


def generator_class(arch: str) -> type[Generator]:
    """Class of an architecture.

    Raises:
        ConfigError: no such architecture.
    """
    found: type[Generator] = resolve(GENERATORS, arch, "architecture (`arch`)")
    return found


def build(arch: str, options: Options, spec: ImageSpec, seed: int = 0) -> Generator:
    """A generator with initial weights drawn from ``seed``; the global random numbers stay as they were.

    Raises:
        ConfigError: options that do not fit the data.
        DataError: data that the architecture cannot learn from.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.integer(seed, "init"))
        return generator_class(arch)(options, spec)


def create(config: GeneratorEntry, spec: ImageSpec, seed: int = 0) -> Generator:
    """An untrained generator of a config entry; arguments and errors as for :func:`build`."""
    return build(config.arch, config.options, spec, seed)
