"""Geometry, field of view, intensity and masks: numerical identities and plausibility."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from mirage.config.datasets import Intensity
from mirage.errors import DataError
from mirage.preprocess import geometry
from mirage.preprocess.breast import CUT, breast_mask
from mirage.preprocess.fov import derive_fov
from mirage.preprocess.geometry import Box
from mirage.preprocess.intensity import bounds, to_stored
from mirage.preprocess.masks import remove_small


@pytest.mark.parametrize(("shape", "size"), [((40, 36), (10, 12)), ((50, 33), (7, 16)), ((31, 20), (31, 20))])
def test_scaling_down_is_the_exact_area_average(shape, size):
    """Equal to repeating every pixel until sizes divide, then averaging blocks."""
    image = np.random.default_rng(0).integers(0, 65536, (2, *shape)).astype(np.uint16)
    big = image.astype(np.float64).repeat(size[0], axis=1).repeat(size[1], axis=2)
    blocks = big.reshape(2, size[0], shape[0], size[1], shape[1]).mean(axis=(2, 4))
    np.testing.assert_allclose(geometry.resize(image, geometry.whole(shape), size), blocks, atol=0.05)


def test_large_images_are_scaled_in_bands_with_the_same_result(monkeypatch):
    """The band size is a matter of memory only."""
    image = np.random.default_rng(0).integers(0, 256, (3, 90, 70), dtype=np.uint8)
    box = geometry.padded_square((90, 70))
    whole = geometry.resize(image, box, (17, 17))
    monkeypatch.setattr(geometry, "BAND", 2000)
    np.testing.assert_array_equal(geometry.resize(image, box, (17, 17)), whole)


def test_scaling_up_a_ramp_stays_a_ramp():
    """Linear interpolation between pixel centres, held at the borders."""
    ramp = np.arange(8, dtype=np.float32)[None, None].repeat(8, axis=1)
    scaled = geometry.resize(ramp, geometry.whole((8, 8)), (16, 16))[0, 0]
    np.testing.assert_allclose(scaled[1:-1], np.arange(0.25, 7, 0.5), atol=1e-5)
    assert scaled[0] == 0
    assert scaled[-1] == 7


def test_padding_is_centred_and_does_not_darken_the_border():
    """Pixels that lie partly outside average what is inside; those wholly outside are 0."""
    image = np.full((1, 30, 10), 200, np.uint8)
    box = geometry.padded_square((30, 10))
    scaled = geometry.resize(image, box, (12, 12))[0]
    inside = geometry.inside((30, 10), box, (12, 12))
    np.testing.assert_allclose(scaled[inside], 200, atol=1e-3)
    assert inside.any(axis=0).sum() == 4
    assert (scaled[:, [0, 1, 2, -3, -2, -1]] == 0).all()


def test_boxes_surround_what_they_should():
    """Squares are centred and may reach beyond the image."""
    assert geometry.centre_square((30, 50)) == Box(0, 10, 30, 30)
    assert geometry.padded_square((30, 50)) == Box(-10, 0, 50, 50)
    mask = np.zeros((40, 40), np.uint8)
    mask[10:20, 3:33] = 1
    assert geometry.bounding_square(mask) == Box(0, 3, 30, 30)
    with pytest.raises(ValueError, match="empty"):
        geometry.bounding_square(np.zeros((4, 4)))


@pytest.mark.parametrize(("threshold", "kept"), [(0.5, False), (0.3, True)])
def test_a_low_threshold_keeps_thin_lines(threshold, kept):
    """A 2-pixel line scaled by 5 covers 40 % of its stored pixels."""
    mask = np.zeros((50, 50), np.uint8)
    mask[20:22] = 1
    scaled = geometry.resize_binary(mask, geometry.whole((50, 50)), (10, 10), threshold)
    assert scaled.any() == kept
    assert not kept or (scaled[4] == 1).all()


def test_labels_are_never_mixed():
    """Scaling a map of labels 0, 7 and 9 gives no other value, and nothing outside."""
    mask = np.random.default_rng(0).choice(np.array([0, 7, 9], np.uint8), (33, 20))
    scaled = geometry.resize_labels(mask, geometry.padded_square((33, 20)), (16, 16))
    assert set(np.unique(scaled)) <= {0, 7, 9}
    assert not scaled[:, :2].any()
    same = geometry.resize_labels(mask, geometry.whole((33, 20)), (33, 20))
    np.testing.assert_array_equal(same, mask)


def test_spacing_grows_as_pixels_do():
    """100 pixels of 0.2 mm in 50 stored ones are 0.4 mm each."""
    assert geometry.spacing_after((0.2, 0.3), Box(0, 0, 100, 50), (50, 50)) == pytest.approx((0.4, 0.3))


def photograph(level: float, black: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A noisy, vignetted disc on a dark frame, and the truth."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:300, :320].astype(float)
    radius = np.hypot(y - 150, x - 160)
    disc = radius < 130
    red = np.where(disc, level * (1 - 0.5 * (radius / 130) ** 2), black) + rng.normal(0, 2, disc.shape)
    red[140:160, 80:100] *= 0.3
    return np.clip(np.stack([red, 0.4 * red, 0.2 * red]), 0, 255).astype(np.uint8), disc


@pytest.mark.parametrize(("level", "black"), [(220, 0), (120, 5), (90, 15)])
def test_field_of_view_is_found_for_bright_and_dim_cameras(level, black):
    """Dark lesions are filled, the outline is within a pixel or so."""
    image, disc = photograph(level, black)
    found = derive_fov(image).astype(bool)
    assert (found & disc).sum() / (found | disc).sum() > 0.97
    assert found[150, 90]


def test_an_image_without_a_dark_frame_is_all_field_of_view():
    """Microscopy with one dark side is not cut."""
    image = np.full((1, 100, 120), 90, np.uint8)
    image[:, :, :30] = 2
    assert derive_fov(image).all()
    assert derive_fov(np.zeros((3, 50, 50), np.uint8)).all()


def small_photograph(radius: int, level: int, black: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A disc in a wide dark frame, as a telephone takes it: (3, 360, 480) uint8, and its mask."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:360, :480].astype(float)
    far = np.hypot(y - 170, x - 260)
    disc = far < radius
    red = np.where(disc, level * (1 - 0.4 * (far / radius) ** 2), black) + rng.normal(0, 1.5, disc.shape)
    return np.clip(np.stack([red, 0.5 * red, 0.3 * red]), 0, 255).astype(np.uint8), disc


def dice(found: np.ndarray, wanted: np.ndarray) -> float:
    """Overlap of two masks, 0 ... 1."""
    return float(2 * np.count_nonzero((found > 0) & wanted) / (np.count_nonzero(found) + wanted.sum()))


@pytest.mark.parametrize("radius", [60, 80, 110])
@pytest.mark.parametrize(("level", "black"), [(220, 0), (120, 12), (35, 4)])
def test_a_small_field_of_view_is_found_in_a_wide_frame(radius, level, black):
    """Also where three quarters of the image and more are frame, in bright and dark images."""
    image, disc = small_photograph(radius, level, black)
    assert dice(derive_fov(image), disc) > 0.97


@pytest.mark.parametrize("radius", [80, 165])
@pytest.mark.parametrize("level", [220, 35])
def test_one_bright_corner_is_a_stamp_and_two_are_no_frame(radius, level):
    """A logo or date in a corner is left out of a small and of a usual field of view."""
    image, disc = small_photograph(radius, level, 4)
    image[:, :40, :60] = 255
    assert dice(derive_fov(image), disc) > 0.97
    image[:, -40:, :60] = 255
    assert derive_fov(image).all()


def test_images_without_a_frame_keep_their_whole_field_of_view():
    """Noise, a gradient whose one corner is bright, scattered bright cells, a uniform dark image."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:200, :240] / 240
    dots = ndimage.gaussian_filter((rng.random((200, 240)) < 0.002).astype(float), 4)
    for image in (
        rng.normal(100, 10, (200, 240)),
        rng.normal(100, 10, (200, 240)) + 60 * x,
        250 * np.clip(x + y - 0.9, 0, None),
        10 + 200 * dots / dots.max() + rng.normal(0, 1, dots.shape),
        np.full((200, 240), 7.0),
    ):
        assert derive_fov(np.clip(image, 0, 255).astype(np.uint8)[None]).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_a_full_range_maps_end_to_end(bits):
    """The lowest and highest native values become the lowest and highest stored ones, exactly."""
    native = np.array([0, 1, 32768, 65534, 65535], np.float32)
    stored = to_stored(native.copy(), 0, 65535, bits)
    assert stored.dtype == (np.uint8 if bits == 8 else np.uint16)
    expected = native if bits == 16 else np.rint(native / 257)
    np.testing.assert_array_equal(stored, expected)


def test_windows_clip_and_percentiles_look_inside_only():
    """Values beyond the window saturate; the frame does not enter percentiles."""
    image = np.zeros((1, 10, 10), np.float32)
    image[:, :5] = np.arange(100, 150).reshape(5, 10)
    inside = np.zeros((10, 10), bool)
    inside[:5] = True
    low, high = bounds(image, inside, None, Intensity(kind="percentile", low=0, high=100))
    assert (low, high) == (100, 149)
    window = bounds(image, inside, None, Intensity(kind="window", low=-50, high=150))
    stored = to_stored(np.array([-999, -50, 150, 999], np.float32), *window, 8)
    np.testing.assert_array_equal(stored, [0, 0, 255, 255])


def test_values_without_a_range_need_a_window():
    """Signed and float images are not guessed at."""
    with pytest.raises(DataError, match="kind: window"):
        bounds(np.zeros((1, 2, 2), np.float32), np.ones((2, 2), bool), None, Intensity())


def test_small_components_go():
    """Components below the size are dropped, whatever they touch diagonally counts as one."""
    mask = np.zeros((20, 20), np.uint8)
    mask[5:12, 5:12] = 1
    mask[8, 8] = 0
    mask[0, 0] = mask[18, 18] = mask[17, 17] = 1
    assert remove_small(mask, 3).sum() == 48
    assert remove_small(mask, 2).sum() == 50


def test_boxes_move_with_the_crop():
    """Shifted, scaled and clipped; what lies outside, or only touches the border, is dropped."""
    found = [
        {"x0": 10, "y0": 20, "x1": 30, "y1": 60, "label": "a"},
        {"x0": -5, "y0": 90, "x1": 12, "y1": 200, "label": "b"},
        {"x0": 0, "y0": 0, "x1": 10, "y1": 100, "label": "c"},
    ]
    kept = geometry.boxes_after(found, Box(top=0, left=10, height=100, width=50), (50, 100))
    assert kept == [
        {"x0": 0, "y0": 10, "x1": 40, "y1": 30, "label": "a"},
        {"x0": 0, "y0": 45, "x1": 4, "y1": 50, "label": "b"},
    ]


def test_the_breast_is_the_largest_part_after_an_opening_by_a_disc():
    """As SciPy finds it with a structuring element and by growing from outside, to the pixel."""
    y, x = np.mgrid[:300, :240]
    shape = (np.hypot(y - 150, 0.8 * x) < 90) | (np.hypot(y - 40, x - 200) < 25)
    shape[148:152, 80:200] = True  # a streak that leaves the breast
    shape[60:100, 120:123] = True
    shape[140:170, 20:50] = False
    shape ^= np.random.default_rng(0).random(shape.shape) < 0.002
    down, across = np.ogrid[-CUT : CUT + 1, -CUT : CUT + 1]
    padded = np.pad(shape, CUT + 1, mode="edge")
    opened = ndimage.binary_opening(padded, down**2 + across**2 <= CUT**2)[
        CUT + 1 : -CUT - 1, CUT + 1 : -CUT - 1
    ]
    parts, count = ndimage.label(opened)
    assert count > 1
    largest = parts == 1 + np.argmax(ndimage.sum_labels(opened, parts, range(1, count + 1)))
    found = breast_mask(np.where(shape, 900, 0).astype(np.uint16)[None], "digital")
    np.testing.assert_array_equal(found, ndimage.binary_fill_holes(largest))
    assert found[155, 35] == 1
    assert found[150, 190] == 0


@pytest.mark.parametrize("size", [(16, 16), (60, 50)])
def test_a_box_inside_an_image_is_scaled_as_it_is_in_the_whole(size):
    """Only what a box is made of is read, and up to its edges it is made of its neighbours too."""
    image = np.random.default_rng(0).integers(0, 65536, (2, 90, 80)).astype(np.uint16)
    boxes = [Box(0, 0, 32, 30), Box(31, 20, 32, 30), Box(58, 50, 32, 30), Box(70, -9, 32, 30)]
    for box in boxes:
        rows, _ = geometry.axis_weights(90, box.top, box.height, size[0])
        columns, _ = geometry.axis_weights(80, box.left, box.width, size[1])
        whole = rows.toarray() @ image.astype(np.float64) @ columns.toarray().T
        np.testing.assert_allclose(geometry.resize(image, box, size), whole, rtol=1e-5)
