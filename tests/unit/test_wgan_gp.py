"""WGAN-GP: its critic, its penalty, and who learns when."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from small_training import fit
from torch import nn

from mirage.config.generators import WGANGPConfig, WGANGPOptions
from mirage.generators import build
from mirage.generators.base import ImageSpec
from mirage.networks.dcgan import DCGANDiscriminator
from mirage.training.losses import gradient_penalty, wasserstein_loss

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = WGANGPOptions(latent=4, features=4, max_features=8)


def model_of(data, **changes):
    return build("wgan_gp", SMALL.model_copy(update=changes), ImageSpec.of(data.info), seed=1).train()


@pytest.mark.parametrize("norm", ["layer", "instance", "none"])
def test_the_critic_judges_each_item_by_itself(norm, toy_dataset):
    """What it says of an item does not depend on the batch, also in training; batch norm would."""
    model = model_of(toy_dataset(), norm=norm)
    images = torch.randn(5, 3, 32, 32)
    together = model.critic(images)
    torch.testing.assert_close(model.critic(images[2:3]), together[2:3], rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.critic.modules())
    batched = DCGANDiscriminator(32, 3, 4, 8).train()
    assert not torch.allclose(batched(images[2:4]), batched(images)[2:4], rtol=1e-4, atol=1e-5)


def test_penalty_of_a_linear_critic():
    """The slope of w . x is |w| everywhere; the penalty is its squared distance from 1, with no region."""
    weight = torch.randn(3 * 8 * 8)
    real, fake = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8)
    found = gradient_penalty(lambda images: images.flatten(1) @ weight, real, fake)
    torch.testing.assert_close(found, (weight.norm() - 1).square())
    everywhere = gradient_penalty(lambda x: x.flatten(1) @ weight, real, fake, torch.ones(4, 1, 8, 8))
    torch.testing.assert_close(found, everywhere)


def test_the_penalty_is_in_float32_where_the_rest_is_not(toy_dataset):
    """Within autocast it has the value, and gives the critic the gradients, that it has without."""
    model = model_of(toy_dataset())
    real, fake = torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32)
    found = []
    for half in (False, True):
        torch.manual_seed(0)
        model.critic.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            penalty = gradient_penalty(
                model.critic, real, fake.bfloat16() if half else fake.bfloat16().float()
            )
        penalty.backward()
        found.append([penalty.detach(), *(weight.grad for weight in model.critic.parameters())])
    for plain, mixed in zip(*found, strict=True):
        assert mixed.dtype == torch.float32
        torch.testing.assert_close(mixed, plain, rtol=1e-5, atol=1e-7)


def test_the_critic_finds_more_in_real_items_once_it_has_learnt(toy_dataset):
    """Its loss, the difference of means, falls below zero; the generator's is the negative verdict."""
    assert wasserstein_loss(torch.tensor([3.0, 5.0]), torch.tensor([1.0])) == -3
    data = toy_dataset()
    model = model_of(data, norm="none", lr=2e-3)
    real = torch.stack([model.example(data.item(index))["real"] for index in range(6)])
    critic = model.configure_optimizer("critic", model.critic.parameters())
    assert critic.defaults["betas"] == (0.0, 0.9)
    torch.manual_seed(0)
    losses = []
    for _ in range(25):
        found = model.training_step({"real": real}, "critic")
        critic.zero_grad()
        sum(found.values()).backward()
        critic.step()
        losses.append(found["wasserstein"].item())
    assert losses[-1] < min(losses[0], 0)
    batch = {"real": real}
    told = model.training_step(batch, "generator")["generator"]
    torch.testing.assert_close(told, -model.critic(batch["fake"]).mean())


def test_five_updates_of_the_critic_to_one_of_the_generator(toy_dataset, tmp_path):
    """The history has the generator's loss of each fifth step, the critic's of all."""
    _, result = fit("wgan_gp", toy_dataset(), tmp_path, options=SMALL, steps=11, log_every=1)
    steps = {
        name: [step for step, metric, _ in result.history if metric == name]
        for name in ("generator", "penalty")
    }
    assert steps == {"generator": [5, 10], "penalty": list(range(1, 12))}


def test_a_training_without_a_turn_of_the_generator_is_refused():
    """With the numbers that do not fit."""
    with pytest.raises(ValidationError, match=r"training\.steps: 4 end before .*critic_steps 5"):
        WGANGPConfig(arch="wgan_gp", data="toy", training={"steps": 4, "validate_every": 4})
    WGANGPConfig(arch="wgan_gp", data="toy", training={"epochs": 4})
