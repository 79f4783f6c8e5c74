"""Trainings of a few steps of networks of a few channels, shared by the tests of the loop."""

from __future__ import annotations

from mirage.config.base import Runtime
from mirage.config.generators import (
    AOTGANOptions,
    Augment,
    ContextualAttentionOptions,
    DCGANOptions,
    FrechetChoice,
    Pix2PixOptions,
    SegmenterOptions,
    TrainingOptions,
    WGANGPOptions,
)
from mirage.evaluate.features.choice import FrechetCriterion
from mirage.generators import build, generator_class
from mirage.training.loop import train

OPTIONS = {
    "dcgan": DCGANOptions(of="mask", latent=4, features=4, max_features=8, patch_weight=0.5, lr_decay=0.5),
    "pix2pix": Pix2PixOptions(features=4, critic_features=4, levels=4, pool=3),
    "segmenter": SegmenterOptions(features=4, dropout=0.0),
    "wgan_gp": WGANGPOptions(latent=4, features=4, max_features=8, critic_steps=2),
    "contextual_attention": ContextualAttentionOptions(features=4, critic_features=4, critic_steps=2),
    "aot_gan": AOTGANOptions(features=4, critic_features=4, blocks=1, rates=(1, 2), soft_sigma=2.0),
}
CHOSEN = DCGANOptions(latent=4, features=4, max_features=8, lr_generator=5e-3)
TRAINING = {
    "steps": 6,
    "batch_size": 4,
    "validate_every": 3,
    "log_every": 4,
    "ema_decay": 0.9,
    "augment": Augment(hflip=True, rotate_deg=20, scale=0.1, gamma=0.1, brightness=0.1),
}


def fit(arch, data, state_dir, *, fingerprint="f" * 16, options=None, runtime=None, wrap=None, **keys):
    """Train a small model; return it with its result."""
    chosen = options or OPTIONS[arch]
    model = build(arch, chosen, generator_class(arch).spec_of(chosen, data.select("train")), seed=1)
    if wrap is not None:
        wrap(model)
    named = ("previews", "minutes", "state_minutes", "criterion")
    call = {"state_minutes": 1e-9, **{name: keys.pop(name) for name in named if name in keys}}
    result = train(
        model,
        data.select("train"),
        data.select("val"),
        TrainingOptions(**{**TRAINING, **keys}),
        Runtime(**{"accelerator": "cpu", **(runtime or {})}),
        seed=5,
        state_dir=state_dir,
        fingerprint=fingerprint,
        progress=False,
        **call,
    )
    return model, result


def fit_by_frechet(encoder, data, state_dir, **keys):
    """Train a small DCGAN whose weights are chosen by three values of an encoder's Fréchet distance."""
    choice = FrechetChoice(images=6, samples=12)
    criterion = FrechetCriterion(encoder, choice, Runtime(accelerator="cpu"), data.select("val"))
    own = {"steps": 8, "validate_every": 1, "select_window": 3, "criterion": criterion}
    return fit("dcgan", data, state_dir, options=CHOSEN, **{**own, **keys})
