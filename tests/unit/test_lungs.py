"""Lung fields of radiographs, phantoms and real ones."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from mirage.errors import DataError
from mirage.preprocess.lungs import derive_lungs, eroded, is_inverted, lung_boxes
from mirage.simulate.chest import radiograph


def phantom(seed: int, view: str = "PA", size: int = 256):
    made = radiograph(np.random.default_rng(seed), size, view=view)
    return np.round(made.image * 255).astype(np.uint8), made.lungs


@pytest.mark.parametrize("view", ["PA", "AP"])
def test_lungs_of_phantoms_are_found_and_the_heart_is_not(view):
    """Nearly all that is taken for lung is lung, and most of both lungs is found, each on its own side."""
    for seed in range(4):
        image, truth = phantom(seed, view)
        mask = derive_lungs(image).mask
        assert mask.shape == image.shape
        for value, lung in ((1, truth[0]), (2, truth[1])):
            found = mask == value
            assert (found & (lung > 0)).sum() / found.sum() > 0.9
            assert (found & (lung > 0)).sum() / lung.sum() > 0.7


def test_exposure_frames_size_and_polarity_do_not_matter():
    """16 bit, a stretched or compressed exposure, white and black frames, dark bones, another size."""
    image, _ = phantom(1)
    plain = derive_lungs(image)
    assert not plain.inverted
    for other in (image.astype(np.uint16) * 200 + 4000, (image // 3 + 60).astype(np.uint8), image[None]):
        assert (derive_lungs(other).mask != plain.mask).mean() < 0.02
    dark_bones = derive_lungs(255 - image)
    assert dark_bones.inverted
    assert is_inverted(255 - image)
    assert (dark_bones.mask != plain.mask).mean() < 0.02
    for value in (0, 255):
        framed = np.pad(image, 12, constant_values=value)
        found = derive_lungs(framed).mask
        assert found.shape == framed.shape
        assert (found[12:-12, 12:-12] != plain.mask).mean() < 0.04
    large = np.asarray(Image.fromarray(image).resize((512, 512), Image.Resampling.BILINEAR))
    assert (derive_lungs(large).mask[::2, ::2] != plain.mask).mean() < 0.02


def test_what_holds_no_lungs_is_refused():
    """A blank image, noise, one lung painted over, a stamp."""
    image, truth = phantom(2)
    with pytest.raises(DataError, match="blank"):
        derive_lungs(np.full((200, 200), 7, np.uint8))
    with pytest.raises(DataError, match="no plausible lung"):
        derive_lungs(np.random.default_rng(0).integers(0, 255, (256, 256)).astype(np.uint8))
    painted = np.where(ndimage.binary_dilation(truth[1], iterations=14), 230, image)
    with pytest.raises(DataError, match="right side of the image"):
        derive_lungs(painted)
    with pytest.raises(DataError, match="too small"):
        derive_lungs(image[:40, :40])


def test_boxes_and_margins():
    """Boxes are shares of width and height; a margin leaves what is further than it from every edge."""
    field = lung_boxes((100, 200), [(0.1, 0.2, 0.4, 0.8), (0.6, 0.0, 1.0, 1.0)])
    assert (field.mask[20:80, 20:80] == 1).all()
    assert (field.mask == 1).sum() == 60 * 60
    assert (field.mask == 2).sum() == 80 * 100
    inner = eroded(field.mask, 5)
    assert inner[25, 30]
    assert not inner[:5].any()
    assert (inner & (field.mask == 1)).sum() == 50 * 50
    assert (inner & (field.mask == 2)).sum() == 70 * 90


def test_real_healthy_radiographs_have_plausible_lungs(shared_data):
    """All 20 healthy ones: two lungs, darker than what is around them, in both polarities."""
    folder = shared_data / "NIH-ChestXray"
    with (folder / "Data_Entry_2017_v2020.csv").open() as file:
        healthy = {
            row["Image Index"] for row in csv.DictReader(file) if row["Finding Labels"] == "No Finding"
        }
    paths = [path for path in sorted((folder / "images").glob("*.png")) if path.name in healthy]
    assert len(paths) == 20
    for path in paths:
        image = np.asarray(Image.open(path).convert("L"))
        field = derive_lungs(image)
        assert not field.inverted, path.name
        around = ndimage.binary_dilation(field.mask > 0, iterations=30) & (field.mask == 0)
        assert np.median(image[field.mask > 0]) < np.median(image[around]), path.name
        for value in (1, 2):
            assert 0.05 < (field.mask == value).mean() < 0.2, path.name
        assert derive_lungs(255 - image).inverted, path.name
