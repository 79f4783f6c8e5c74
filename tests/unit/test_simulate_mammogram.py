"""Phantom mammograms: breasts that look alike at every size, side and look, with lesions known exactly."""

from __future__ import annotations

import time

import numpy as np
import pytest

from mirage.simulate.breast import DENSITIES
from mirage.simulate.breast_lesions import (
    MARGINS,
    MORPHOLOGIES,
    LesionShape,
    bounding_box,
    draw_lesion,
    polygon_mask,
)
from mirage.simulate.mammogram import LOOKS, Mammogram, mammogram

SIZE = (192, 150)
MASS = LesionShape("mass", 55, 120, 20, 0.25, margin="circumscribed", shape="round", seed=1)


def made(seed: int = 0, size: tuple[int, int] = SIZE, **options) -> Mammogram:
    """A phantom."""
    return mammogram(np.random.default_rng(seed), size, **options)


def test_the_breast_lies_at_the_chest_wall_of_its_side():
    """Left: chest wall at the image's left; right is the mirror image of the same draw."""
    left, right = made(1, side="L"), made(1, side="R")
    assert left.breast[:, 0].sum() > left.breast[:, -1].sum() == 0
    np.testing.assert_array_equal(left.breast, right.breast[:, ::-1])
    np.testing.assert_array_equal(left.image, right.image[:, ::-1])


def test_air_is_black_and_processed_images_use_the_range():
    """The background of a digital mammogram is zero; half the range at least is used inside."""
    for seed in range(4):
        phantom = made(seed, view=("CC", "MLO")[seed % 2])
        assert phantom.image.dtype == np.float32
        assert phantom.image[~phantom.breast].max() == 0
        inside = phantom.image[phantom.breast]
        assert inside.min() >= 0
        assert inside.max() <= 1
        assert np.percentile(inside, 99) - np.percentile(inside, 5) > 0.3
        assert 0.1 < phantom.breast.mean() < 0.75


def test_oblique_views_have_a_muscle_above_and_craniocaudal_ones_none():
    """A triangle at the upper end of the chest wall, brighter than fat."""
    assert not made(2, view="CC").muscle.any()
    oblique = made(2, view="MLO", density="A")
    assert oblique.muscle[0, 0]
    widths = oblique.muscle.sum(axis=1)
    assert widths[0] > 20
    assert (np.diff(widths) <= 0).all()
    assert widths[SIZE[0] * 3 // 4] == 0
    fat = oblique.breast & ~oblique.muscle
    assert oblique.image[oblique.muscle].mean() > 1.4 * np.median(oblique.image[fat])


def test_denser_breasts_are_brighter():
    """Composition by BI-RADS, from the same draw."""
    means = [made(3, density=density).image.mean() for density in DENSITIES]
    assert means == sorted(means)
    assert means[-1] > 1.25 * means[0]


def test_the_same_draw_is_the_same_breast_at_every_size():
    """Lesions and texture lie at the same place."""
    small, large = made(4, (96, 75), lesions=3), made(4, (384, 300), lesions=3)
    reduced = large.image.reshape(96, 4, 75, 4).mean(axis=(1, 3))
    assert np.corrcoef(reduced.ravel(), small.image.ravel())[0, 1] > 0.95
    assert len(small.lesions) == len(large.lesions) == 3
    for one, other in zip(small.lesions, large.lesions, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(np.array(one.box) * 4, other.box, atol=9)


@pytest.mark.parametrize("side", ["L", "R"])
def test_outline_mask_and_box_of_a_lesion_say_the_same(side):
    """The polygon encloses the mask, whose bounding box is the box; all lie in the breast."""
    phantom = made(5, side=side, view="MLO", lesions=4)
    assert phantom.lesions
    for lesion in phantom.lesions:
        assert lesion.side == side
        np.testing.assert_array_equal(polygon_mask(lesion.outline, SIZE), lesion.mask)
        assert bounding_box(lesion.mask) == lesion.box
        assert lesion.mask.sum() >= 6
        assert phantom.breast[lesion.mask].all()
        assert not (lesion.mask & phantom.muscle).any()


def test_a_lesion_is_bright_where_its_mask_is():
    """With and without a circumscribed mass, the images differ inside its mask and hardly outside."""
    bare, ill = made(6), made(6, lesions=[MASS])
    difference = ill.image - bare.image
    mask = ill.lesions[0].mask
    assert difference[mask].mean() > 0.1
    assert abs(difference[~mask]).sum() < 0.1 * difference[mask].sum()
    height, width = np.ptp(np.nonzero(mask), axis=1) + 1
    assert height == pytest.approx(20 / ill.spacing_mm, abs=3)
    assert width == pytest.approx(20 / ill.spacing_mm, abs=3)


@pytest.mark.parametrize("margin", MARGINS)
def test_margins_differ_in_sharpness_and_spiculated_ones_have_lines(margin):
    """Angular variation beyond the core tells spicules; the steepest slope tells sharp margins."""
    shape = LesionShape("mass", 60, 60, 24, 0.25, margin=margin, shape="round", seed=3)
    added, _ = draw_lesion(shape, (400, 400), 0.3)
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    ring = added[(200 + 47 * np.sin(angle)).astype(int), (200 + 47 * np.cos(angle)).astype(int)]
    assert (np.abs(np.diff(ring)).mean() > 0.004) == (margin == "spiculated")
    if margin != "spiculated":
        assert (np.abs(np.diff(added[200])).max() > 0.025) == (margin == "circumscribed")


@pytest.mark.parametrize("morphology", MORPHOLOGIES)
def test_calcifications_are_specks_inside_their_outline(morphology):
    """Several separate maxima; next to nothing outside."""
    from scipy.ndimage import label

    shape = LesionShape("calcification", 30, 30, 20, 0.5, morphology=morphology, seed=4)
    added, lesion = draw_lesion(shape, (600, 600), 0.1)
    _, count = label(added > 0.1)
    assert count >= 3
    assert added[~lesion.mask].sum() < 0.02 * added.sum()


def test_raw_images_are_inverted_and_films_have_letters():
    """One breast in every look."""
    phantoms = {look: made(7, look=look, lesions=[MASS]) for look in LOOKS}
    reference = phantoms["hologic"]
    inside = reference.breast & (reference.image > 0.05)
    for look, phantom in phantoms.items():
        correlation = np.corrcoef(phantom.image[inside], reference.image[inside])[0, 1]
        assert correlation < -0.6 if look == "raw" else correlation > 0.9
        assert phantom.lesions[0].box == reference.lesions[0].box
    assert phantoms["raw"].image[~reference.breast].mean() > 0.9
    assert phantoms["film"].image[~reference.breast].max() > 0.7
    assert np.median(phantoms["film"].image[~reference.breast]) > 0.02


def test_a_lesion_outside_the_image_is_an_error():
    """It would have no pixel."""
    with pytest.raises(ValueError, match="lies outside the image"):
        draw_lesion(LesionShape("mass", 500, 500, 10, 0.2), (64, 64), 1.0)


def test_a_phantom_takes_less_than_half_a_second():
    """At 512 x 400; the best of three, because other programs run too."""
    made(0)
    times = []
    for seed in range(3):
        start = time.process_time()
        made(seed, (512, 400), view="MLO", lesions=2)
        times.append(time.process_time() - start)
    assert min(times) < 0.5
