"""JSRT, raw and converted, and NODE21: simulated in their native layouts, read back, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from mirage.config.datasets import SimulateOptions, SourceOptions
from mirage.errors import DataError, LayoutError
from mirage.files import read_json
from mirage.simulate import simulate
from mirage.sources import Source, open_source

SUBJECTS, SIZE = 4, 128
REAL_LINES = (
    "JPCLN001.IMG\t5\t15\t53\tmale\t1634\t692\tmalignant\tl.upper lobe\tlung cancer\r"
    "JPCLN002.IMG\t5\t30\t78\tfemale\t1614\t1090\tbenign\tl.upper lobe(S5)\tpulmonary hematomaJPCLN003.IMG\t5"
    "\t30\t?\tfemale\t1303\t447\tmalignant\tl.upper lobe(S1+2)\tlung cancer\r"
)
"""Lines of the original's form: old Macintosh line ends, two lines run into one, an unknown age."""


def source(reader: str, path: Path, **options) -> Source:
    """Open a source from plain options, as real data."""
    return open_source(
        TypeAdapter(SourceOptions).validate_python({"reader": reader, "path": str(path), **options})
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[str, Path]:
    """The same JSRT subjects raw and as PNG, and NODE21."""
    folder = tmp_path_factory.mktemp("sets")
    for name, reader, layout in (("raw", "jsrt", "raw"), ("png", "jsrt", "png"), ("node21", "node21", None)):
        simulate(SimulateOptions(subjects=SUBJECTS, size=SIZE, seed=3, layout=layout), reader, folder / name)
    return {name: folder / name for name in ("raw", "png", "node21")}


@pytest.fixture
def copied(tmp_path, written):
    """A copy of a set that a test may damage."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(written[name], tmp_path / name))

    return copy


def by_name(opened: Source) -> dict:
    return {item.item_id: item for item in opened.items()}


# --- JSRT -------------------------------------------------------------------------------------------


def test_raw_and_converted_jsrt_show_the_same_bright_bones_and_boxes(written):
    """Raw values are inverted, bytes swapped, positions scaled; both forms agree."""
    raw, png = (by_name(source("jsrt", written[name])) for name in ("raw", "png"))
    assert list(raw) == list(png)
    assert len(raw) == SUBJECTS
    for name in raw:
        large, small = raw[name].load(), png[name].load()
        assert large.image.shape == (1, 2048, 2048)
        assert large.full_range == (0, 4095)
        assert large.spacing_mm == (0.175, 0.175)
        assert small.spacing_mm == pytest.approx((0.175 * 2048 / SIZE,) * 2)
        shrunk = large.image[0].reshape(SIZE, 16, SIZE, 16).mean(axis=(1, 3)) / 4095
        assert abs(shrunk - small.image[0] / 255).mean() < 0.01
        for one, other in zip(large.boxes, small.boxes, strict=True):
            assert [one[key] / 16 for key in ("x0", "y1")] == pytest.approx(
                [other[key] for key in ("x0", "y1")]
            )


def test_simulated_jsrt_nodules_lie_in_their_boxes_with_their_table(written):
    """Centre, diameter and what is known of each; healthy images have none."""
    truth = read_json(written["raw"] / "ground_truth.json")["images"]
    items = by_name(source("jsrt", written["raw"]))
    assert {name[:5] for name in items} == {"JPCLN", "JPCNN"}
    for name, item in items.items():
        boxes = item.load().boxes
        assert len(boxes) == len(truth[name]["nodules"]) == name.startswith("JPCLN")
        assert item.attributes["findings"] == ("Nodule" if boxes else "No Finding")
        assert 20 <= item.attributes["age"] < 90
        assert item.attributes["sex"] in ("M", "F")
        for box, known in zip(boxes, truth[name]["nodules"], strict=True):
            assert (box["x0"] + box["x1"]) / 2 == pytest.approx(known["x"] * 2048, abs=1)
            assert box["y1"] - box["y0"] == pytest.approx(known["diameter"] * 2048, abs=3)
            assert item.attributes["malignancy"] == known["malignancy"]
            assert 1 <= item.attributes["subtlety"] <= 5


def test_the_originals_text_is_read_whatever_separates_its_lines(tmp_path):
    """Tabs, commas or blanks, carriage returns, lines that run into one another, an unknown age."""
    for number, text in enumerate(
        (REAL_LINES, REAL_LINES.replace("\t", ", "), REAL_LINES.replace("\t", "  "))
    ):
        root = tmp_path / str(number)
        root.mkdir()
        (root / "CLNDAT_EN.txt").write_bytes(text.encode())
        for name in ("001", "002", "003"):
            Image.fromarray(np.full((64, 64), 9, np.uint8)).save(root / f"jpcln{name}.png")
        items = by_name(source("jsrt", root))
        assert list(items) == ["JPCLN001", "JPCLN002", "JPCLN003"]
        second = items["JPCLN002"]
        assert second.attributes["age"] == 78
        assert second.attributes["sex"] == "F"
        assert second.attributes["size_mm"] == 30
        assert second.attributes["malignancy"] == "benign"
        assert second.attributes["location"] == "l.upper lobe(S5)"
        assert second.attributes["diagnosis"] == "pulmonary hematoma"
        assert items["JPCLN003"].attributes["age"] is None
        half = 30 / 0.175 / 2
        (box,) = second.load().boxes
        corners = [(1614 - half) / 32, (1090 - half) / 32, (1614 + half) / 32, (1090 + half) / 32]
        assert [box[key] for key in ("x0", "y0", "x1", "y1")] == pytest.approx(corners)


def test_a_csv_of_nodules_says_the_same(copied):
    """As it circulates with converted images: healthy ones have no position."""
    root = copied("png")
    before = {
        name: (item.load().boxes, item.attributes) for name, item in by_name(source("jsrt", root)).items()
    }
    lines = ["study_id,subtlety,size,age,gender,x,y,state,position,diagnosis"]
    for name, (boxes, known) in before.items():
        middle = [
            round((boxes[0][a] + boxes[0][b]) * 1024 / SIZE) if boxes else ""
            for a, b in (("x0", "x1"), ("y0", "y1"))
        ]
        sex = {"M": "Male", "F": "Female"}[known["sex"]]
        cells = [f"{name}.png", known["subtlety"] or "", known["size_mm"] or "", known["age"], sex, *middle]
        lines.append(",".join(map(str, [*cells, known["malignancy"] or "", known["location"] or "", ""])))
    (root / "jsrt_metadata.csv").write_text("\n".join(lines))
    for table in ("CLNDAT_EN.txt", "CNNDAT_EN.TXT"):
        (root / table).unlink()
    for name, item in by_name(source("jsrt", root)).items():
        boxes, known = before[name]
        for key in ("age", "sex", "subtlety", "size_mm", "malignancy", "location", "findings"):
            assert item.attributes[key] == known[key], key
        for one, other in zip(item.load().boxes, boxes, strict=True):
            assert one["x0"] == pytest.approx(other["x0"], abs=0.1)


def test_jsrt_options_choose_images_and_inversion(written):
    """Healthy ones only, boxed ones only, and a PNG that was converted without inverting it."""
    healthy = by_name(source("jsrt", written["png"], findings=["No Finding"]))
    boxed = by_name(source("jsrt", written["png"], boxed_only=True))
    assert all(name.startswith("JPCNN") for name in healthy)
    assert all(name.startswith("JPCLN") for name in boxed)
    assert len(healthy) + len(boxed) == SUBJECTS
    name = next(iter(healthy))
    turned = by_name(source("jsrt", written["png"], inverted="yes"))[name].load()
    np.testing.assert_array_equal(turned.image, 255 - healthy[name].load().image)


def swap_bytes(path: Path) -> None:
    path.write_bytes(np.fromfile(path, "<u2").astype(">u2").tobytes())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-2]), r"has 8,388,606 bytes, expected 8,388,608"),
        (swap_bytes, r"expected at most 4095 .* the bytes of its pixels are swapped"),
        (Path.unlink, "the file is not there"),
    ],
)
def test_a_damaged_raw_file_fails_alone(copied, damage, message):
    """Wrong number of bytes, wrong order of bytes, no file."""
    root = copied("raw")
    damage(root / "Nodule154images" / "JPCLN001.IMG")
    items = by_name(source("jsrt", root))
    with pytest.raises(DataError, match=message) as error:
        items["JPCLN001"].load()
    assert "JPCLN001" in str(error.value)
    assert items["JPCNN001"].load().image.any()
    if damage is Path.unlink:
        assert "JPCLN001" not in by_name(source("jsrt", root, partial=True))


def test_an_unlisted_nodule_fails_also_in_a_part(copied):
    """Its image is there: nothing but an absent file is left out."""
    root = copied("raw")
    shutil.copy(root / "Nodule154images" / "JPCLN001.IMG", root / "JPCLN150.IMG")
    with pytest.raises(DataError, match="does not list it"):
        by_name(source("jsrt", root, partial=True))["JPCLN150"].load()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (REAL_LINES.replace("JPCLN002", "JPCLN001"), "JPCLN001: is listed twice"),
        ("JPCLN001.IMG\t5\t15\r", "JPCLN001: has the fields '5 15'"),
        (REAL_LINES.replace("\t1634", "\tleft"), "x is 'left', expected a number"),
        (REAL_LINES.replace("\t15\t", "\t0\t"), "size is 0 mm, expected more than 0"),
        ("nothing", "lists no image such as JPCLN001"),
    ],
)
def test_a_table_of_jsrt_with_faults_names_the_image(tmp_path, text, message):
    """Twice, too short, words for numbers, no size, nothing."""
    (tmp_path / "CLNDAT_EN.txt").write_bytes(text.encode())
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "JPCLN001.png")
    with pytest.raises(DataError, match=message):
        list(source("jsrt", tmp_path).items())


def test_what_jsrt_lacks_or_cannot_mean_is_said(tmp_path):
    """No table, a CSV without a column, an image that is no square, a box outside, an image nobody lists."""
    root = tmp_path / "jsrt"
    with pytest.raises(LayoutError, match="is missing"):
        source("jsrt", root).check_layout()
    root.mkdir()
    with pytest.raises(LayoutError, match=r"no table CLNDAT_EN\.txt"):
        source("jsrt", root).check_layout()
    (root / "mine.csv").write_text("file,x,y\nJPCLN001.png,5,5\n")
    with pytest.raises(DataError, match="no column size_mm or size or diameter_mm"):
        list(source("jsrt", root, table="mine.csv").items())
    (root / "mine.csv").write_text("file,x,y,size_mm\nJPCLN001.png,10,1000,60\nJPCLN002.png,1000,1000,20\n")
    for name, shape in (("JPCLN001", (64, 64)), ("JPCLN002", (64, 50)), ("JPCLN009", (64, 64))):
        Image.fromarray(np.zeros(shape, np.uint8)).save(root / f"{name}.png")
    items = by_name(source("jsrt", root, table="mine.csv"))
    for name, message in (
        ("JPCLN001", "reaches outside the image of 64 x 64"),
        ("JPCLN002", "is 50 x 64, expected a square"),
        ("JPCLN009", "mine.csv does not list it"),
    ):
        with pytest.raises(DataError, match=message):
            items[name].load()


# --- NODE21 -----------------------------------------------------------------------------------------


def test_simulated_node21_is_read_with_exactly_its_boxes(written):
    """Several boxes an image, none where the label is 0, wherever the archive was unpacked."""
    truth = read_json(written["node21"] / "ground_truth.json")["images"]
    for root in (written["node21"], written["node21"] / "cxr_images" / "proccessed_data"):
        opened = source("node21", root)
        opened.check_layout()
        items = by_name(opened)
        assert len(items) == SUBJECTS
        for name, item in items.items():
            raw = item.load()
            boxes = [[box[key] for key in ("x0", "y0", "x1", "y1")] for box in raw.boxes]
            assert boxes == [known["box"] for known in truth[f"{name}.mha"]["nodules"]]
            assert bool(boxes) == name.startswith("n")
            assert raw.image.shape == (1, SIZE, SIZE)
            assert raw.image.dtype == np.uint16


def test_patients_of_chestxray14_are_known_by_the_original_names(copied):
    """Two follow-ups of one patient must not come into two splits."""
    root = copied("node21")
    originals = root / "cxr_images" / "original_data"
    originals.mkdir()
    header = "node21_img_id,orig_dataset,orig_img_id\n"
    rows = "c0000,chestxray14,00000032_001.png\nc0001,chestxray14,00000032_017.png\nn0000,jsrt,JPCLN001\n"
    (originals / "filenames_orig_and_new.csv").write_text(header + rows)
    items = by_name(source("node21", root))
    assert items["c0000"].subject_id == items["c0001"].subject_id == "chestxray14_00000032"
    assert items["n0000"].subject_id == "n0000"
    assert items["n0000"].attributes["original_dataset"] == "jsrt"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text.replace("label", "class", 1), "no column label"),
        (lambda text: text + "5,n0000.mha,2,5,1,1\n", "label is '2', expected 0 or 1"),
        (lambda text: text + "0,n0000.mha,1,5,1,1\n", "the box is 5 x 0, expected more than 0"),
        (lambda text: text + "wide,n0000.mha,1,5,1,1\n", "height is 'wide', expected a number"),
        (lambda text: text + "0,n0000.mha,0,0,0,0\n", "n0000.mha has rows with and without a nodule"),
    ],
)
def test_a_table_of_node21_with_faults_names_the_row(copied, edit, message):
    """A column, a label, a box without extent, a word for a number, an image both healthy and not."""
    root = copied("node21")
    table = root / "cxr_images" / "proccessed_data" / "metadata.csv"
    table.write_text(edit(table.read_text()))
    with pytest.raises((DataError, LayoutError), match=message):
        list(source("node21", root).items())


def test_a_box_outside_an_absent_or_a_damaged_image_fails_alone(copied):
    """The others are still read."""
    root = copied("node21")
    place = root / "cxr_images" / "proccessed_data"
    with (place / "metadata.csv").open("a") as handle:
        handle.write(f"40,n0000.mha,1,40,{SIZE - 20},10\n9,n0900.mha,1,9,1,1\n")
    (place / "images" / "c0000.mha").write_bytes(b"ObjectType = Image\n")
    items = by_name(source("node21", root))
    for name, message in (("n0000", "reaches outside"), ("n0900", "is not there"), ("c0000", "damaged")):
        with pytest.raises(DataError, match=message):
            items[name].load()
    assert items["c0001"].load().image.any()
    assert "n0900" not in by_name(source("node21", root, partial=True))
    shutil.rmtree(place / "images")
    with pytest.raises(LayoutError, match="images is missing"):
        source("node21", root).check_layout()
    (place / "metadata.csv").unlink()
    with pytest.raises(LayoutError, match=r"has no metadata\.csv"):
        source("node21", root).check_layout()
