"""Readers of chest archives: which images and boxes are taken, and what is said of damaged ones."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from mirage.config.datasets import SimulateOptions, SourceOptions
from mirage.errors import DataError, LayoutError
from mirage.files import read_json
from mirage.simulate import simulate
from mirage.simulate.chest_archives import nodule_of
from mirage.sources import Source, open_source

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


def source(reader: str, path: Path, **options) -> Source:
    """Open a source from plain options, as a config file gives them."""
    return open_source(
        TypeAdapter(SourceOptions).validate_python({"reader": reader, "path": str(path), **options})
    )


def ids(reader: str, path: Path, **options) -> list[str]:
    """Items that are taken."""
    return [item.item_id for item in source(reader, path, **options).items()]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A small NIH archive: a nodule, a healthy AP, an infiltrate; grey ramps of 64 pixels."""
    rows = [
        "00000001_000.png,Nodule|Mass,0,1,058Y,M,PA,2048,2560,0.2,0.1,",
        "00000002_000.png,No Finding,0,2,414Y,F,AP,2048,2048,0.171,0.171,",
        "00000003_000.png,Infiltration,0,3,30,F,PA,2048,2048,0.171,0.171,",
    ]
    (tmp_path / "Data_Entry_2017.csv").write_text("\n".join([HEADER + ",", *rows]) + "\n")
    boxes = ["00000001_000.png,Nodule,160.0,320.5,80,64,,,", "00000003_000.png,Infiltrate,16,16,160,160,,,"]
    (tmp_path / "BBox_List_2017.csv").write_text(
        "\n".join(["Image Index,Finding Label,Bbox [x,y,w,h],,,", *boxes]) + "\n"
    )
    grey = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
    for number, folder in ((1, "images_001/images"), (2, "images_002/images"), (3, "images_012")):
        path = tmp_path / folder / f"0000000{number}_000.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(grey).convert("RGBA" if number == 2 else "L").save(path)
    return tmp_path


def boxes_are(archive: Path, *rows: str) -> None:
    """Write a table of boxes in the other circulating shape."""
    (archive / "BBox_List_2017.csv").write_text(
        "\n".join(["Image Index,Finding Label,Bbox [x,y,w,h]", *rows]) + "\n"
    )


def test_nih_reads_tables_folders_boxes_and_rgba(archive):
    """Images of any folder, attributes of the bracketed table, boxes scaled to a smaller copy."""
    opened = source("nih_chest", archive)
    opened.check_layout()
    first, second, _ = opened.items()
    assert first.subject_id == "00000001"
    assert first.attributes == {
        "file": "images_001/images/00000001_000.png",
        "findings": "Nodule|Mass",
        "view": "PA",
        "follow_up": 0,
        "age": 58,
        "sex": "M",
        "height_mm": 256.0,
        "width_mm": 409.6,
    }
    raw = first.load()
    assert raw.boxes == [{"x0": 10.0, "y0": 20.03125, "x1": 15.0, "y1": 24.03125, "label": "Nodule"}]
    assert raw.spacing_mm == pytest.approx((4.0, 6.4))
    assert second.attributes["age"] is None
    np.testing.assert_array_equal(second.load().image, raw.image)
    assert raw.image.shape == (1, 64, 64)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["1", "2", "3"]),
        ({"findings": ["No Finding"]}, ["2"]),
        ({"findings": ["Mass", "Infiltration"]}, ["1", "3"]),
        ({"views": ["PA"]}, ["1", "3"]),
        ({"boxed_only": True}, ["1"]),
        ({"boxed_only": True, "boxes": ["Infiltration"]}, ["3"]),
        ({"findings": ["Nodule"], "views": ["PA"], "boxed_only": True}, ["1"]),
    ],
)
def test_options_choose_images(archive, options, expected):
    """All given options must hold at once."""
    assert ids("nih_chest", archive, **options) == [f"0000000{number}_000" for number in expected]


def test_only_the_labels_asked_for_keep_their_boxes_and_infiltrate_is_infiltration(archive):
    """The two tables spell one finding in two ways."""
    kept = [item.load().boxes for item in source("nih_chest", archive, boxes=["Infiltration"]).items()]
    assert [[box["label"] for box in boxes] for boxes in kept] == [[], [], ["Infiltration"]]


@pytest.mark.parametrize("name", ["00000001_000", "00000001_000.png", "images_001/images/00000001_000.png"])
@pytest.mark.parametrize("column", ["file", "image"])
def test_exclusions_leave_images_out_by_any_of_their_names(archive, tmp_path, name, column):
    """The list needs one column; others are for people."""
    listed = tmp_path / "exclude.csv"
    listed.write_text(f"{column},reason\n{name},pacemaker\n")
    assert ids("nih_chest", archive, exclude=str(listed)) == ["00000002_000", "00000003_000"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,reason\n00000009_000.png,cable\n", "00000009_000.png"),
        ("picture,reason\n00000001_000.png,cable\n", "needs a column `file` or `image`"),
        ("file,reason\n,cable\n", "row 2: names no image"),
    ],
)
def test_exclusions_that_mean_nothing_are_refused(archive, tmp_path, text, said):
    """A misspelt image would stay in silently."""
    (tmp_path / "exclude.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        ids("nih_chest", archive, exclude=str(tmp_path / "exclude.csv"))


def test_missing_list_of_exclusions_is_a_layout_error(archive):
    """It is found at parse time."""
    with pytest.raises(LayoutError, match=r"nowhere\.csv is missing"):
        source("nih_chest", archive, exclude=str(archive / "nowhere.csv")).check_layout()


def test_an_exclusion_may_name_an_absent_image_of_a_part(archive, tmp_path):
    """A list made for the whole archive serves a part of it."""
    (archive / "images_002/images/00000002_000.png").unlink()
    listed = tmp_path / "exclude.csv"
    listed.write_text("file\n00000002_000.png\n00000003_000.png\n")
    assert ids("nih_chest", archive, partial=True, exclude=str(listed)) == ["00000001_000"]


def test_a_box_listed_twice_fails_and_a_row_without_patient_is_refused(archive):
    """One lesion would count as two; images of nobody would all be of one subject."""
    boxes_are(archive, *["00000001_000.png,Nodule,160,320,80,64"] * 2)
    first, second, _ = source("nih_chest", archive).items()
    with pytest.raises(DataError, match=r"the box Nodule \(10, 20\) to \(15, 24\) is listed twice"):
        first.load()
    assert second.load().boxes == []
    table = archive / "Data_Entry_2017.csv"
    table.write_text(table.read_text().replace("Finding,0,2,", "Finding,0,,"))
    with pytest.raises(DataError, match=r"line 3: '00000002_000\.png' has no `Patient ID`"):
        ids("nih_chest", archive)


def test_an_image_listed_but_absent_fails_or_is_left_out_where_so_asked(archive):
    """It never vanishes by itself."""
    (archive / "images_002/images/00000002_000.png").unlink()
    items = {item.item_id: item for item in source("nih_chest", archive).items()}
    assert len(items) == 3
    with pytest.raises(DataError, match=r"00000002_000\.png: the table lists it.*source\.partial"):
        items["00000002_000"].load()
    assert ids("nih_chest", archive, partial=True) == ["00000001_000", "00000003_000"]


def test_an_archive_without_any_listed_image_is_refused(archive):
    """The folder is the wrong one."""
    for path in archive.glob("images*/**/*.png"):
        path.unlink()
    with pytest.raises(LayoutError, match="none of the 3 images"):
        ids("nih_chest", archive, partial=True)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("00000001_000.png,Nodule,1000,10,80,20", "reaches outside the image of 64 x 64"),
        ("00000001_000.png,Nodule,10,-90,80,20", "reaches outside"),
        ("00000001_000.png,Nodule,10,10,0,20", "has no extent"),
    ],
)
def test_a_box_that_is_not_in_its_image_makes_that_image_fail(archive, row, said):
    """The others are read."""
    boxes_are(archive, row)
    first, second, _ = source("nih_chest", archive).items()
    with pytest.raises(DataError, match=said):
        first.load()
    second.load()


def test_a_box_beyond_the_edge_by_rounding_is_cut(archive):
    """Boxes are floats of a drawing program."""
    boxes_are(archive, "00000001_000.png,Nodule,1000,10,25,20")
    assert next(source("nih_chest", archive).items()).load().boxes[0]["x1"] == 64


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("00000009_000.png,Nodule,10,10,5,5", "'00000009_000.png' is not in"),
        ("00000001_000.png,Nodule,10,ten,5,5", "y is 'ten', expected a number"),
        ("00000001_000.png,Nodule,10,nan,5,5", "y is 'nan'"),
        ("00000001_000.png,Nodule,10,10", "has 4 values"),
    ],
)
def test_rows_of_boxes_that_cannot_be_are_refused_with_their_number(archive, row, said):
    """File, row and what was found."""
    boxes_are(archive, "00000001_000.png,Nodule,10,10,5,5", row)
    with pytest.raises(DataError, match=rf"BBox_List_2017\.csv, line 3: .*{said}"):
        ids("nih_chest", archive)


def test_a_table_of_boxes_without_nodules_is_refused_where_nodules_are_asked_for(archive):
    """It says what there is."""
    boxes_are(archive, "00000003_000.png,Infiltrate,16,16,160,160")
    with pytest.raises(DataError, match=r"boxes of Nodule, Mass, and the tables hold Infiltration \(1\)"):
        ids("nih_chest", archive, boxed_only=True)
    assert len(ids("nih_chest", archive)) == 3


def test_missing_tables_and_columns_are_named(archive):
    """At parse time for a file, when rows are read for a column."""
    (archive / "BBox_List_2017.csv").unlink()
    with pytest.raises(LayoutError, match=r"BBox_List_2017\.csv is missing"):
        source("nih_chest", archive, boxed_only=True).check_layout()
    assert len(ids("nih_chest", archive)) == 3
    table = archive / "Data_Entry_2017.csv"
    table.write_text(table.read_text().replace("Finding Labels", "Labels"))
    with pytest.raises(DataError, match="no column Finding Labels; found Image Index, Labels"):
        ids("nih_chest", archive)
    table.unlink()
    with pytest.raises(LayoutError, match=r"Data_Entry_2017_v2020\.csv and Data_Entry_2017\.csv"):
        source("nih_chest", archive).check_layout()


def test_truncated_png_is_an_error_that_names_it(archive):
    """Half a file is no image."""
    path = archive / "images_012/00000003_000.png"
    path.write_bytes(path.read_bytes()[:-40])
    item = list(source("nih_chest", archive).items())[2]
    with pytest.raises(DataError, match=r"00000003_000\.png: cannot be read"):
        item.load()


def test_official_lists_are_the_splits_where_they_are_there(archive):
    """By patient, as published."""
    (archive / "train_val_list.txt").write_text("00000001_000.png\n00000003_000.png\n")
    (archive / "test_list.txt").write_text("00000002_000.png\n")
    assert [item.split for item in source("nih_chest", archive).items()] == ["train", "test", "train"]


def test_words_that_no_archive_knows_are_refused_with_the_nearest(tmp_path):
    """At parse time."""
    with pytest.raises(ValidationError, match="did you mean 'Nodule'"):
        source("nih_chest", tmp_path, findings=["Nodules"])
    with pytest.raises(ValidationError, match="views: 'pa' is unknown"):
        source("nih_chest", tmp_path, views=["pa"])
    with pytest.raises(ValidationError):
        source("chexpert", tmp_path, boxed_only=True)
    with pytest.raises(ValidationError, match="views"):
        source("node21", tmp_path, views=["PA"])


def test_checking_the_layout_reads_no_row_of_a_table(archive, monkeypatch):
    """A dry run over 112,120 images opens and checks the source, and nothing more."""
    from mirage.sources import nih_chest

    def fail(*_):
        raise AssertionError("a table was read")

    monkeypatch.setattr(nih_chest, "read_rows", fail)
    opened = source("nih_chest", archive, boxed_only=True)
    opened.check_layout()
    with pytest.raises(AssertionError, match="a table was read"):
        list(opened.items())


# --- phantoms ---------------------------------------------------------------------------------------


def test_simulated_nih_archive_has_its_nodules_where_the_truth_says(tmp_path):
    """Boxes hold exactly what the shapes of the truth draw, and subtraction leaves the healthy chest."""
    simulate(SimulateOptions(subjects=12, size=128), "nih_chest", tmp_path / "raw")
    opened = source("nih_chest", tmp_path / "raw")
    opened.check_layout()
    items = list(opened.items())
    truth = read_json(tmp_path / "raw/ground_truth.json")["images"]
    assert len(items) == len(truth) == 16
    assert len({item.subject_id for item in items}) == 12
    boxed = 0
    for item in items:
        nodules = truth[f"{item.item_id}.png"]["nodules"]
        raw = item.load()
        assert raw.image.shape == (1, 128, 128)
        assert ("No Finding" in item.attributes["findings"]) == (not nodules)
        assert len(raw.boxes) in (0, len(nodules))
        boxed += len(raw.boxes)
        for box, entry in zip(raw.boxes, nodules, strict=False):
            drawn = nodule_of(entry, 128)
            assert (box["x0"], box["y0"], box["x1"], box["y1"]) == pytest.approx(drawn.box)
            assert drawn.contribution.sum() == pytest.approx(entry["mass"], rel=1e-6)
            with Image.open(tmp_path / f"raw/truth/lungs/{item.item_id}.png") as lungs:
                assert np.asarray(lungs)[drawn.mask > 0].mean() > 0.8
    assert boxed >= 8
    assert len(ids("nih_chest", tmp_path / "raw", boxed_only=True)) >= 5


def test_simulated_chexpert_is_read_with_each_policy_for_uncertain_labels(tmp_path):
    """-1 counts as asked; radiologists' labels are the test set."""
    simulate(SimulateOptions(subjects=15, size=64), "chexpert", tmp_path / "raw")
    opened = source("chexpert", tmp_path / "raw")
    opened.check_layout()
    items = list(opened.items())
    assert items[0].load().image.shape == (1, 52, 64)
    assert {item.split for item in items} == {"train", "test"}
    counts = {}
    for policy in ("positive", "negative", "ignore"):
        found = list(source("chexpert", tmp_path / "raw", uncertain=policy).items())
        counts[policy] = sum("Lung Lesion" in item.attributes["findings"] for item in found)
        uncertain = [item.attributes["uncertain"] for item in found]
    assert counts["positive"] > counts["negative"] == counts["ignore"] > 0
    assert uncertain.count("Lung Lesion") == counts["positive"] - counts["negative"]
    healthy = ids("chexpert", tmp_path / "raw", findings=["No Finding"])
    lesions = ids("chexpert", tmp_path / "raw", findings=["Lung Lesion"], uncertain="positive")
    assert not set(healthy) & set(lesions)


def test_chexpert_refuses_labels_and_paths_that_cannot_be(tmp_path):
    """With file and row."""
    simulate(SimulateOptions(subjects=1, size=32), "chexpert", tmp_path / "raw")
    table = tmp_path / "raw/train.csv"
    text = table.read_text()
    table.write_text(text.replace(",1.0", ",2.0", 1))
    with pytest.raises(DataError, match=r"train\.csv, line 2: .* is '2\.0', expected 1, 0, -1 or nothing"):
        ids("chexpert", tmp_path / "raw")
    table.write_text(text.replace("patient00001", "someone"))
    with pytest.raises(DataError, match="names no patient"):
        ids("chexpert", tmp_path / "raw")


# --- real data --------------------------------------------------------------------------------------


def test_real_nih_archive_of_forty_images_and_complete_tables(shared_data):
    """The 112,120 rows are read; only what is there is left with `partial`."""
    root = shared_data / "NIH-ChestXray"
    with open(root / "Data_Entry_2017_v2020.csv", encoding="utf-8") as handle:
        assert sum(1 for _ in csv.reader(handle)) == 112_121
    items = list(source("nih_chest", root, partial=True).items())
    assert len(items) == 40
    assert len({item.subject_id for item in items}) == 40
    assert sum("Nodule" in item.attributes["findings"] for item in items) == 13
    assert len(ids("nih_chest", root, partial=True, findings=["No Finding"])) == 20
    boxed = list(source("nih_chest", root, partial=True, boxed_only=True, boxes=["Nodule"]).items())
    assert [item.item_id for item in boxed] == ["00008386_000", "00013911_000"]
    for item in boxed:
        raw = item.load()
        assert raw.image.shape == (1, 1024, 1024)
        assert len(raw.boxes) == 1
    whole = list(source("nih_chest", root, boxes=["Nodule"], boxed_only=True).items())
    assert len(whole) > 70
