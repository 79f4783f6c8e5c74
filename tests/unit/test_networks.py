"""Networks have the published sizes, map shapes as documented, and refuse what they cannot do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mirage.networks.dcgan import SIZES, DCGANDiscriminator, DCGANGenerator
from mirage.networks.pix2pix import ItemDropout, PatchCritic, UNetGenerator


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (lambda: DCGANGenerator(128, 1, latent=100, features=64, max_features=1024), 12_784_512),
        (lambda: DCGANGenerator(128, 1, latent=200), 14_422_912),
        (lambda: DCGANDiscriminator(128, 1), 11_162_368),
        (lambda: DCGANDiscriminator(128, 1, features=16), 701_632),
        (lambda: DCGANDiscriminator(128, 1, kernel=6), 25_090_048),
        (lambda: UNetGenerator(3, 3), 54_413_955),
        (lambda: UNetGenerator(3, 3, norm="batch"), 54_413_955),
        (lambda: UNetGenerator(1, 1), 54_407_809),
        (lambda: UNetGenerator(1, 1, levels=7), 41_822_849),
        (lambda: PatchCritic(6), 2_768_705),
        (lambda: PatchCritic(6, norm="batch"), 2_768_705),
        (lambda: PatchCritic(2), 2_764_609),
    ],
)
def test_parameter_counts_equal_the_reference_implementations(module, expected):
    """A layer, bias or norm too many or too few changes the count."""
    with torch.device("meta"):
        assert parameters(module()) == expected


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_dcgan_makes_and_judges_every_size(size, channels):
    """Generator and discriminator agree on the image's shape; images lie in [-1, 1]."""
    image = DCGANGenerator(size, channels, latent=7, features=2, max_features=8)(torch.randn(2, 7))
    assert image.shape == (2, channels, size, size)
    assert image.abs().max() <= 1
    assert DCGANDiscriminator(size, channels, features=2, max_features=8)(image).shape == (2,)


@pytest.mark.parametrize("kernel", [3, 4, 5, 6, 7, 9])
def test_dcgan_discriminator_halves_the_side_with_any_kernel(kernel):
    """128, 64, 32, 16, 8, 4 and one logit: odd and even kernels are padded to fit, and see the borders."""
    critic = DCGANDiscriminator(128, 1, features=2, max_features=8, kernel=kernel)
    x, sides = torch.randn(2, 1, 128, 128), []
    for layer in critic.layers:
        x = layer(x)
        sides += [x.shape[-1]] * isinstance(layer, torch.nn.Conv2d)
    assert sides == [64, 32, 16, 8, 4, 1]
    strided = [layer for layer in critic.layers if isinstance(layer, torch.nn.Conv2d)][:-1]
    assert {layer.kernel_size for layer in strided} == {(kernel, kernel)}


@pytest.mark.parametrize("norm", ["layer", "instance", "none"])
def test_dcgan_discriminator_normalises_as_asked(norm):
    """A layer norm gives each item mean 0 over channels and places; an instance norm, each map."""
    critic = DCGANDiscriminator(32, 1, features=2, max_features=8, norm=norm)
    shown = critic.layers[:4](torch.randn(3, 1, 32, 32))
    if norm == "none":
        assert len(critic.layers) == 7
        return
    axes = (1, 2, 3) if norm == "layer" else (2, 3)
    torch.testing.assert_close(shown.mean(axes), torch.zeros_like(shown.mean(axes)), rtol=0, atol=0.2)
    kinds = {"layer": torch.nn.GroupNorm, "instance": torch.nn.InstanceNorm2d}
    assert sum(isinstance(layer, kinds[norm]) for layer in critic.layers) == 2


@pytest.mark.parametrize(("size", "levels"), [(32, 5), (64, 3), (128, 7), (512, 9)])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_unet_keeps_the_side_for_any_levels(size, levels, norm):
    """Down and up cancel, down to one pixel at the bottom."""
    network = UNetGenerator(2, 3, features=2, levels=levels, norm=norm)
    assert network(torch.randn(1, 2, size, size)).shape == (1, 3, size, size)


@pytest.mark.parametrize(("levels", "window", "side"), [(3, 70, 30), (2, 34, 62)])
def test_patch_critic_looks_at_its_window(levels, window, side):
    """The centre logit depends on a square of exactly so many pixels: 70 as published, 34 a level below."""
    critic = PatchCritic(2, features=2, norm="batch", levels=levels).eval()
    condition = torch.randn(1, 1, 256, 256, requires_grad=True)
    logits = critic(condition, torch.zeros(1, 1, 256, 256))
    assert logits.shape == (1, 1, side, side)
    logits[0, 0, side // 2, side // 2].backward()
    rows, columns = condition.grad[0, 0].nonzero(as_tuple=True)
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (window, window)


def test_initial_weights_are_normal():
    """Convolutions are N(0, 0.02), norm scales N(1, 0.02), biases 0."""
    network = UNetGenerator(3, 3, features=16, levels=5)
    convolution = network.body.inside.down[1].weight
    scale = network.body.inside.inside.down[2].weight
    assert abs(convolution.mean()) < 1e-3
    assert convolution.std().item() == pytest.approx(0.02, rel=0.02)
    assert scale.mean().item() == pytest.approx(1, abs=0.01)
    assert scale.std().item() == pytest.approx(0.02, rel=0.3)
    assert not network.last[1].bias.any()


def test_item_dropout_follows_the_items_own_numbers():
    """An item's mask is the same in any batch and place, keeps the mean, and differs between items."""
    dropout = ItemDropout(0.5).eval()
    x = torch.ones(3, 64, 8, 8)

    def draw(*seeds: int) -> torch.Tensor:
        return dropout(x[: len(seeds)], [torch.Generator().manual_seed(seed) for seed in seeds])

    together = draw(5, 6, 7)
    assert torch.equal(together[1:2], draw(6))
    assert not torch.equal(together[0], together[1])
    assert set(together.unique().tolist()) == {0.0, 2.0}
    assert together.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(dropout(x), x)


def test_dropout_sits_in_the_three_innermost_up_blocks():
    """The paper's CD512-CD512-CD512, whatever the number of levels."""
    for levels in (5, 8):
        with torch.device("meta"):
            network = UNetGenerator(1, 1, features=2, levels=levels, dropout=0.4)
        probabilities = [module.p for module in network.modules() if isinstance(module, ItemDropout)]
        assert sorted(probabilities) == [0.0] * (levels - 4) + [0.4] * 3
        assert network.body.dropout.p == (0.0 if levels > 4 else 0.4)


@pytest.mark.parametrize(
    "build",
    [
        lambda: DCGANGenerator(100, 1),
        lambda: DCGANGenerator(64, 1, features=64, max_features=32),
        lambda: UNetGenerator(1, 1, levels=2),
        lambda: UNetGenerator(1, 1, norm="group"),
        lambda: ItemDropout(1.0),
    ],
)
def test_impossible_arguments_are_refused_early(build):
    """Before any weight is drawn, with a sentence."""
    with pytest.raises(ValueError, match=r"not|below"):
        build()
