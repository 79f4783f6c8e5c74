"""Chest phantoms: nodules known exactly, lungs that are dark, the same chest at every size."""

from __future__ import annotations

import numpy as np
import pytest

from mirage.simulate.chest import NoduleShape, draw_nodule, radiograph


def phantom(seed: int = 0, size: int = 128, **options):
    """A phantom of a fresh generator."""
    return radiograph(np.random.default_rng(seed), size, **options)


@pytest.mark.parametrize("size", [64, 256])
def test_image_is_healthy_chest_plus_what_each_nodule_adds(size):
    """The truth is exact: nothing is clipped, and outside the masks not one bit differs."""
    made = phantom(3, size, nodules=3)
    assert len(made.nodules) == 3
    added = sum(nodule.contribution for nodule in made.nodules)
    np.testing.assert_allclose(made.image, made.healthy + added, atol=1e-6)
    outside = ~np.any([nodule.mask > 0 for nodule in made.nodules], axis=0)
    np.testing.assert_array_equal(made.image[outside], made.healthy[outside])
    assert made.image.max() < 1


def test_anatomy_does_not_depend_on_the_nodules_nor_the_first_nodules_on_their_number():
    """A patient with and without nodules is the same patient."""
    bare, one, three = (phantom(5, nodules=count) for count in (0, 1, 3))
    np.testing.assert_array_equal(bare.image, three.healthy)
    assert one.nodules[0].shape == three.nodules[0].shape
    assert not bare.nodules
    np.testing.assert_array_equal(bare.image, bare.healthy)


def test_nodules_lie_in_the_lungs_apart_and_in_their_boxes():
    """Every centre is lung, boxes are the masks' and do not overlap."""
    for seed in range(4):
        made = phantom(seed, 256, nodules=3)
        lungs = made.lungs.any(axis=0)
        for nodule in made.nodules:
            x0, y0, x1, y1 = nodule.box
            assert nodule.mask[y0:y1, x0:x1].sum() == nodule.mask.sum()
            assert nodule.mask[y0, x0:x1].any()
            assert nodule.mask[y0:y1, x1 - 1].any()
            assert lungs[nodule.mask > 0].mean() > 0.9
        assert np.sum([nodule.mask for nodule in made.nodules], axis=0).max() == 1


def test_mass_of_a_ball_is_the_integral_of_its_profile():
    """Contrast times area over (hardness + 1), for a round outline."""
    shape = NoduleShape(x=0.51, y=0.48, diameter=0.1, contrast=0.2, hardness=1.0)
    expected = 0.2 * np.pi * (0.05 * 512) ** 2 / 2
    assert draw_nodule(shape, 512).contribution.sum() == pytest.approx(expected, rel=0.005)


def test_the_same_chest_at_another_size():
    """A chest of 256 pixels, averaged over blocks, is that of 64 pixels but for noise."""
    small, large = phantom(2, 64, nodules=2), phantom(2, 256, nodules=2)
    reduced = large.image.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert np.abs(reduced - small.image).mean() < 0.012
    shapes = [[nodule.shape for nodule in made.nodules] for made in (small, large)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("view", ["PA", "AP"])
def test_lungs_are_darker_than_the_tissue_around_and_the_heart_is_on_the_left(view):
    """Both fields are there, the right one is larger, and air beside the shoulders is black."""
    for seed in range(6):
        made = phantom(seed, view=view)
        right, left = made.lungs.astype(bool)
        assert 0.10 < right.mean() < 0.30
        assert 0.07 < left.mean() < right.mean()
        assert made.image[right | left].mean() < 0.75 * made.image[100:, 30:-30].mean()
        assert made.image[:4, :4].max() < 0.1
        assert made.image.min() >= 0


def test_a_chest_lying_has_the_larger_heart():
    """The left border of the heart reaches further out in AP, on average."""
    views = ("PA", "AP")
    made = {view: [phantom(seed, view=view).lungs[1].mean() for seed in range(8)] for view in views}
    assert np.mean(made["AP"]) < 0.95 * np.mean(made["PA"])


def test_a_nodule_that_covers_no_pixel_is_refused():
    """It would be a truth that nobody can see."""
    with pytest.raises(ValueError, match="covers no pixel"):
        draw_nodule(NoduleShape(x=0.5, y=0.5, diameter=0.001, contrast=0.1), 64)
