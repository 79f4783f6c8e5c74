"""Healthy places beside a lesion, and what an inpainter's errors there tell of it."""

from __future__ import annotations

import numpy as np
import pytest

from mirage.preprocess.healthy_places import Filled, beside_healthy, healthy_places, learn_bias
from mirage.preprocess.lesions import UNKNOWN, Bias, Box, Lesion
from mirage.preprocess.membrane import carried_on, dome

SIDE = 40
BOX = Box(14, 12, 26, 28)
HOLE = BOX.grown(4).mask((SIDE, SIDE)).astype(np.uint8)


def filled(seed: int, trust: float = 1.0, offset: float = 0.0) -> Filled:
    """A place of which an inpainter draws stripes ``1 / trust`` times too strong, and darker in the box."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    inner = BOX.mask((SIDE, SIDE))
    stripes = 12 * np.sin(0.7 * x + 0.3 * y + rng.uniform(0, 6)) * dome(inner).clip(0, 1)
    original = 90 + 0.5 * y + stripes
    inpainted = original + stripes * (1 / trust - 1) - offset * dome(inner)
    return Filled(original, inpainted, HOLE, BOX)


def test_places_lie_in_the_lung_beside_all_lesions_and_apart():
    """Whole holes inside the image, no lesion under them, none twice, moved by whole pixels."""
    lungs = np.zeros((200, 220), np.uint8)
    lungs[40:180, 20:90] = 1
    lungs[40:180, 130:215] = 2
    box, other = Box(40.5, 60, 56.5, 80), Box(150, 100, 170, 120)
    found = healthy_places(lungs, [box, other], box, 6, 12, np.random.default_rng(0))
    assert len(found) == 12
    assert {place.size for place in found} == {box.size}
    assert all(not (place.x0 - box.x0) % 1 and not (place.y0 - box.y0) % 1 for place in found)
    for number, place in enumerate(found):
        assert lungs[place.mask(lungs.shape)].astype(bool).mean() >= 0.95
        hole = place.grown(6)
        assert hole.clipped(lungs.shape) == hole
        assert not hole.mask(lungs.shape)[box.mask(lungs.shape) | other.mask(lungs.shape)].any()
        for earlier in found[:number]:
            assert abs(place.x0 - earlier.x0) >= 8 or abs(place.y0 - earlier.y0) >= 10
    sides = {int(lungs[int(place.centre[0]), int(place.centre[1])]) for place in found}
    assert sides == {1, 2}
    again = healthy_places(lungs, [box, other], box, 6, 12, np.random.default_rng(0))
    assert again == found


def test_a_lesion_at_the_edge_of_a_lung_is_compared_with_places_like_it():
    """Boxes half outside the lung have places half outside; where there is no lung, or no room, none."""
    lungs = np.zeros((120, 120), np.uint8)
    lungs[20:100, 30:34] = 1
    box = Box(26, 50, 34, 58)
    found = healthy_places(lungs, [box], box, 3, 8, np.random.default_rng(0))
    assert len(found) >= 4
    assert all(lungs[place.mask(lungs.shape)].mean() == 0.5 for place in found)
    assert not healthy_places(np.zeros_like(lungs), [box], box, 3, 8, np.random.default_rng(0))
    assert not healthy_places(lungs, [box], Box(5, 5, 115, 115), 6, 8, np.random.default_rng(0))


@pytest.mark.parametrize(("trust", "offset"), [(1.0, 0.0), (1.0, 5.0), (0.5, 0.0), (0.6, 3.0)])
def test_trust_and_offset_are_found(trust, offset):
    """As they were drawn."""
    places = [filled(seed, trust, offset) for seed in range(12)]
    bias = learn_bias(places)
    assert bias.places == 10, "one in eight is left out at either end"
    assert bias.trust == pytest.approx(trust, abs=0.05)
    # What it drew too dark is trusted as little as its stripes.
    assert bias.offset == pytest.approx(trust * offset, abs=0.1 + 0.03 * offset)


def test_one_unmarked_lesion_does_not_spoil_it():
    """A place that holds a bright nodule is the highest error, and left out."""
    places = [filled(seed, 1.0, 2.0) for seed in range(12)]
    nodule = Filled(places[0].original + 60 * dome(BOX.mask((SIDE, SIDE))), places[0].inpainted, HOLE, BOX)
    assert learn_bias([nodule, *places[1:]]).offset == pytest.approx(2, abs=0.2)


def test_few_places_teach_nothing():
    """Below four nothing is known, and nothing said of how a lesion compares."""
    places = [filled(seed, 0.5, 4.0) for seed in range(3)]
    assert learn_bias(places) == UNKNOWN == Bias(1.0, 0.0, 0)
    flat = np.zeros((SIDE, SIDE))
    lesion = Lesion(flat, flat, BOX.mask(flat.shape).astype(float), flat, BOX)
    assert beside_healthy(lesion, places, UNKNOWN) is None


def test_a_lesion_is_set_beside_what_is_left_at_healthy_places():
    """In their standard deviations: errors of 2 grey values and a lesion of 20 above their mean."""
    rng = np.random.default_rng(0)
    inner = BOX.mask((SIDE, SIDE))
    errors = rng.normal(0, 2, 16)
    places = [Filled(90 + error * dome(inner), np.full((SIDE, SIDE), 90.0), HOLE, BOX) for error in errors]
    lesion = Lesion(20.0 * inner, inner.astype(float), inner.astype(float), 110.0 * inner, BOX)
    found = beside_healthy(lesion, places, UNKNOWN)
    assert found == pytest.approx((20 - errors.mean()) / errors.std(ddof=1), rel=0.05)


def test_a_membrane_carries_its_edge_inwards():
    """A plane is carried on as a plane; a dome is 0 outside with a mean of 1."""
    inner = BOX.mask((SIDE, SIDE))
    plane = np.mgrid[:SIDE, :SIDE][0].astype(float)
    carried = carried_on(plane, (HOLE > 0) & ~inner, inner, 0.01)
    assert carried[inner] == pytest.approx(plane[inner])
    bent = dome(inner)
    assert bent[inner].mean() == pytest.approx(1)
    assert not bent[~inner].any()
    assert bent[20, 20] == pytest.approx(bent.max())
    assert bent.max() > 1.5
