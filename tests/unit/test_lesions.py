"""Lesions cut out of radiographs, judged, turned and blended in: the array functions."""

from __future__ import annotations

import numpy as np
import pytest

from mirage.errors import DataError
from mirage.preprocess.lesions import (
    BLENDS,
    Box,
    Lesion,
    extract,
    insert,
    places,
    poisson,
    soft_edge,
    transformed,
)
from mirage.simulate.chest import NoduleShape, radiograph

RANGE = (0.0, 255.0)


def nodule(seed: int, size: int = 512, **shape: float) -> tuple[np.ndarray, np.ndarray, Box, float]:
    """Stored radiographs with and without a nodule, its box, and its mass in stored units."""
    given = {"x": 0.3, "y": 0.45, "diameter": 0.06, "contrast": 0.15, **shape}
    made = radiograph(np.random.default_rng(seed), size, [NoduleShape(**given)])
    stored = [np.round(plane * 255).astype(np.uint8) for plane in (made.image, made.healthy)]
    return *stored, Box(*made.nodules[0].box), float(made.nodules[0].contribution.sum() * 255)


def blob(height: float = 20.0, width: float = 20.0, peak: float = 60.0, side: int = 65) -> Lesion:
    """An elliptic Gaussian lesion on a flat picture of 100."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    residual = peak * np.exp(-2 * ((y / (height / 2)) ** 2 + (x / (width / 2)) ** 2))
    core = (y / (height / 2)) ** 2 + (x / (width / 2)) ** 2 <= 1
    half_y, half_x, middle = height / 2, width / 2, side / 2
    box = Box(middle - half_x, middle - half_y, middle + half_x, middle + half_y)
    return Lesion(residual, soft_edge(core, 3), core.astype(float), residual + 100, box)


@pytest.mark.parametrize(("diameter", "contrast"), [(0.04, 0.1), (0.06, 0.15), (0.09, 0.2), (0.09, 0.06)])
def test_a_perfect_inpainting_gives_the_nodule_back(diameter, contrast):
    """Its mass within 10 %, its place, and a mask inside its box; and it is well visible."""
    for seed in range(3):
        image, healthy, box, mass = nodule(seed, diameter=diameter, contrast=contrast)
        hole = box.grown(8).mask(image.shape)
        lesion, seen = extract(image, np.where(hole, healthy, image), box, hole, RANGE)
        assert lesion.mass == pytest.approx(mass, rel=0.1)
        y, x = np.nonzero(lesion.core)
        assert (y.mean() + 0.5, x.mean() + 0.5) == pytest.approx(box.centre, abs=1.5)
        assert (box.grown(2).mask(image.shape) >= lesion.core).all()
        assert seen.score > 0.5
        assert 0 < seen.contrast <= contrast


def test_a_biased_noisy_inpainting_still_gives_the_mass():
    """A constant error of the inpainter is taken off, its noise is no lesion."""
    image, healthy, box, mass = nodule(3)
    rng = np.random.default_rng(0)
    hole = box.grown(10).mask(image.shape)
    drawn = np.clip(healthy + 6 + rng.normal(0, 3, healthy.shape), 0, 255).round().astype(np.uint8)
    lesion, seen = extract(image, np.where(hole, drawn, image), box, hole, RANGE)
    assert lesion.mass == pytest.approx(mass, rel=0.1)
    _, better = extract(image, np.where(hole, healthy, image), box, hole, RANGE)
    assert seen.noise > better.noise
    assert seen.score < better.score


def test_an_error_that_goes_on_under_the_lesion_is_taken_off():
    """Ribs drawn elsewhere, three boxes apart: seen beside the box, and wrong inside it as well."""
    image, healthy, box, mass = nodule(5, contrast=0.2)
    hole, found = box.grown(12).mask(image.shape), []
    for phase in np.arange(0, 2 * np.pi, np.pi / 4):
        ribs = 14 * np.sin(np.arange(len(image)) * 2 * np.pi / (3 * box.side) + phase)[:, None]
        drawn = np.clip(healthy + ribs, 0, 255).round().astype(np.uint8)
        lesion, seen = extract(image, np.where(hole, drawn, image), box, hole, RANGE)
        assert seen.noise > 0.01
        found.append(lesion.mass / mass)
    assert found == pytest.approx([1] * 8, abs=0.2)
    assert np.mean(found) == pytest.approx(1, abs=0.03)


def test_the_error_is_known_on_fewer_sides_at_the_border_of_a_picture():
    """A box that the border cuts has hole on three sides; its membrane ends freely at the fourth."""
    image, healthy, box, mass = nodule(5, contrast=0.2)
    left = round(box.x0)
    box = box.moved(0, -left)
    parts = [picture[:, left:] for picture in (image, np.clip(healthy + 10.0, 0, 255).astype(np.uint8))]
    hole = box.grown(12).mask(parts[0].shape)
    lesion, _ = extract(parts[0], np.where(hole, parts[1], parts[0]), box, hole, RANGE)
    assert lesion.mass == pytest.approx(mass, rel=0.1)


def test_faint_lesions_score_lower_and_none_is_refused():
    """The score falls with contrast; without any lesion, or without a ring of hole, there is none."""
    scores = []
    for contrast in (0.2, 0.08, 0.03):
        image, healthy, box, _ = nodule(4, contrast=contrast)
        rng = np.random.default_rng(1)
        hole = box.grown(10).mask(image.shape)
        drawn = np.clip(healthy + rng.normal(0, 5, healthy.shape), 0, 255).round().astype(np.uint8)
        scores.append(extract(image, np.where(hole, drawn, image), box, hole, RANGE)[1].score)
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.6 > 0.5 > scores[-1]
    with pytest.raises(DataError, match="nothing brighter than the noise"):
        extract(healthy, healthy, box, hole, RANGE)
    with pytest.raises(DataError, match="does not reach beyond the box"):
        extract(image, healthy, box, box.mask(image.shape), RANGE)


def test_turned_lesions_keep_their_mass_and_the_box_of_their_ellipse():
    """A quarter turn exchanges height and width; scale acts on lengths; the centre stays in the middle."""
    lesion = blob(height=30, width=16)
    same = transformed(lesion, 0.0, 1.0)
    assert same.mass == pytest.approx(lesion.mass, rel=0.01)
    assert same.box.size == pytest.approx((30, 16))
    turned = transformed(lesion, 90.0, 1.0)
    assert turned.mass == pytest.approx(lesion.mass, rel=0.01)
    assert turned.box.size == pytest.approx((16, 30))
    doubled = transformed(lesion, 37.0, 2.0)
    assert doubled.mass == pytest.approx(4 * lesion.mass, rel=0.02)
    for moved in (same, turned, doubled):
        y, x = np.nonzero(moved.core)
        assert (y.mean() + 0.5, x.mean() + 0.5) == pytest.approx(moved.box.centre, abs=0.6)
        assert moved.box.centre == pytest.approx((len(moved.core) / 2, len(moved.core) / 2))
        assert not moved.support[[0, -1]].any()
        assert not moved.support[:, [0, -1]].any()
    eighth = transformed(blob(height=20, width=20), 45.0, 1.0)
    assert eighth.box.size == pytest.approx((20, 20)), "a disc turned is the same disc"


@pytest.mark.parametrize("blend", sorted(BLENDS))
@pytest.mark.parametrize("place", [(60, 60), (3, 118)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_outside_the_blend_are_the_given_bits(blend, place, dtype):
    """In the middle and across the corner of the image; box and label are inside it."""
    host = np.random.default_rng(5).integers(60, 140, (120, 120)).astype(dtype)
    before = host.copy()
    value_range = (0.0, float(np.iinfo(dtype).max))
    made = insert(host, transformed(blob(), 30.0, 1.0), place, blend, value_range)
    assert np.array_equal(host, before), "the host itself is left alone"
    assert made.image.dtype == dtype
    assert np.array_equal(made.image[~made.touched], host[~made.touched])
    assert (made.touched >= (made.label > 0)).all()
    # Mixed gradients keep the steep ones of the noise, and so change less of it.
    assert (made.image != host).sum() > (40 if blend == "mixed" else 100)
    assert 0 <= made.box.x0 < made.box.x1 <= 120
    assert 0 <= made.box.y0 < made.box.y1 <= 120
    assert made.box.grown(4).mask(host.shape)[made.label > 0].all()
    assert made.clipped == 0


def test_what_is_clipped_is_counted():
    """A bright host has no room for the lesion: the share of touched pixels beyond the range is told."""
    lesion = transformed(blob(peak=80), 0.0, 1.0)
    dark = insert(np.full((120, 120), 20, np.uint8), lesion, (60, 60), "additive", RANGE)
    bright = insert(np.full((120, 120), 240, np.uint8), lesion, (60, 60), "additive", RANGE)
    assert dark.clipped == 0
    assert bright.image.max() == 255
    beyond = 240 + lesion.residual * lesion.support > 255
    assert bright.clipped == pytest.approx(beyond[lesion.support > 0].mean())
    assert bright.contrast < dark.contrast


def test_additive_keeps_the_ribs_that_paste_covers():
    """The host's own structure shows through an added lesion; a pasted one brings its own background."""
    stripes = np.tile(np.where(np.arange(120) % 10 < 5, 80, 120), (120, 1)).T.astype(np.uint8)
    lesion = transformed(blob(peak=30), 0.0, 1.0)
    added = insert(stripes, lesion, (60, 60), "additive", RANGE).image.astype(float)
    pasted = insert(stripes, lesion, (60, 60), "paste", RANGE).image.astype(float)
    column = slice(56, 66), 60
    assert np.ptp(added[column]) > 40 > 20 > np.ptp(pasted[column])
    assert (added[column] - stripes[column]).min() > 15


def test_poisson_takes_gradients_from_the_lesion_and_the_border_from_the_host():
    """On a flat host it is the lesion up to a constant; on a tilted one the tilt comes through."""
    lesion = transformed(blob(), 0.0, 1.0)
    flat = poisson(np.full(lesion.support.shape, 50.0), lesion)
    inside = lesion.support > 0
    gap = (flat - lesion.original)[inside]
    assert np.ptp(gap) < 1.0
    assert np.array_equal(flat[~inside], np.full((~inside).sum(), 50.0))
    tilted = np.tile(np.linspace(0, 100, len(inside)), (len(inside), 1))
    added = poisson(tilted, lesion) - tilted
    assert added[inside] == pytest.approx((flat - 50)[inside], abs=1e-6)


def test_places_keep_a_lesion_in_the_lung_and_off_another():
    """A disc around each place lies inside; too large a disc has no place."""
    lung = np.zeros((80, 80), np.uint8)
    lung[10:70, 10:50] = 1
    found = places(lung, 12)
    assert found.min() >= 21
    assert found[:, 0].max() <= 58
    assert found[:, 1].max() <= 38
    assert not len(places(lung, 21))
    taken = np.zeros_like(lung)
    taken[:40] = 1
    assert places(lung, 12, taken)[:, 0].min() >= 51
