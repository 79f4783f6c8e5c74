"""OPTIMAM: which images and marks are taken from the tree or a table, and what is said of damaged ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dicom_files import write
from pydantic import TypeAdapter, ValidationError

from mirage.config.datasets import DatasetConfig, PrepareOptions, SimulateOptions, SourceOptions, SplitOptions
from mirage.config.mammography import LESIONS, OptimamSource
from mirage.data import Dataset
from mirage.data.gather import gather
from mirage.errors import DataError, LayoutError
from mirage.files import read_json
from mirage.prepare import prepare_shard
from mirage.simulate import simulate
from mirage.simulate.omidb import VENDORS
from mirage.simulate.women import SIDES, VIEWS, Woman
from mirage.sources import Source, SourceItem, open_source
from mirage.sources.mammogram_header import JsonHeader, mammogram_header
from mirage.sources.mammograms import lesion_box, side_of, view_of
from mirage.sources.nbss import Nbss, status_of
from mirage.sources.omidb import read_object
from mirage.sources.omidb_marks import mark_of_json, mark_of_row
from mirage.sources.spreadsheet import read_spreadsheet

ROOT = "1.2.826.0.1.3680043.9.3218.1.1"
STUDY, SERIES = f"{ROOT}.7.1", f"{ROOT}.7.1.1"
FIRST, SECOND = f"{SERIES}.1", f"{SERIES}.2"
MASS = {"MarkID": 5, "X1": "10", "Y1": "40", "X2": "30", "Y2": "20", "Mass": 1}
EMPTY = {"image_id": FIRST, "x1": "", "y1": "", "x2": "", "y2": ""}


def options(path: Path, **given: Any) -> OptimamSource:
    """Options with all kinds of lesions unless others are asked for."""
    given = {"lesions": list(LESIONS), **given}
    return TypeAdapter(SourceOptions).validate_python({"reader": "optimam", "path": str(path), **given})


def source(path: Path, **given: Any) -> Source:
    """Open the tree."""
    return open_source(options(path, **given))


def items(path: Path, **given: Any) -> dict[str, SourceItem]:
    """Items that are taken, by the image's UID."""
    return {item.item_id.split("/")[1]: item for item in source(path, **given).items()}


def edges(box: dict[str, Any]) -> list[float]:
    """x0, y0, x1, y1."""
    return [box[key] for key in ("x0", "y0", "x1", "y1")]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    """Twelve clients, which meet all that the simulator has in store."""
    folder = tmp_path_factory.mktemp("omidb") / "raw"
    simulate(SimulateOptions(subjects=12, size=64), "optimam", folder)
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """One client with one study of two images of 64 x 48, the first of which has a mass."""
    for uid, side in ((FIRST, "L"), (SECOND, "R")):
        tags = {"ImageLaterality": side, "ViewPosition": "CC", "PatientAge": "058Y"}
        machine = {"Manufacturer": "HOLOGIC, Inc.", "ManufacturerModelName": "Lorad Selenia"}
        path = tmp_path / f"images/demd7/{STUDY}/{uid}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)
        write(path, values, PresentationIntentType="FOR PRESENTATION", SOPInstanceUID=uid, **tags, **machine)
    marked(tmp_path, {FIRST: {"5": MASS}, SECOND: {}})
    return tmp_path


def marked(root: Path, images: dict[str, Any], client: str = "demd7", study: str = STUDY) -> None:
    """Write a client's list of images and marks."""
    (root / "data" / client).mkdir(parents=True, exist_ok=True)
    listed = {"StudyDate": "2015-01-02", "EpisodeID": "", f"{study}.1": images}
    record = {"Site": "adde", "STUDIES": {study: listed}}
    (root / f"data/{client}/imagedb_{client}.json").write_text(json.dumps(record))


def header(root: Path, uid: str, **tags: Any) -> None:
    """Write the header of an image in JSON, by the tags' eight digits."""
    path = root / f"data/demd7/{STUDY}/{uid}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    model = {tag.lstrip("t"): {"vr": "LO", "Value": value} for tag, value in tags.items()}
    path.write_text(json.dumps(model))


# --- phantoms ----------------------------------------------------------------------------------------


def test_the_reader_finds_exactly_the_simulated_lesions(simulated):
    """Boxes, kinds and malignancy of every image; each image once, although a study is listed twice."""
    truth = read_json(simulated / "ground_truth.json")["images"]
    found = {item.item_id: item for item in source(simulated, intents=None).items()}
    assert found.keys() == truth.keys()
    boxes = 0
    for name, entry in truth.items():
        raw = found[name].load()
        expected = [
            (one["kind"], "malignant" if one["malignant"] else "benign", one["box"])
            for one in entry["lesions"]
        ]
        assert [(box["label"], box["malignancy"], edges(box)) for box in raw.boxes] == expected
        attributes = found[name].attributes
        assert (attributes["laterality"], attributes["view"]) == (entry["laterality"], entry["view"])
        assert attributes["intent"] == ("FOR PROCESSING" if entry["raw"] else "FOR PRESENTATION")
        assert attributes["client_status"] == entry["status"]
        assert attributes["chest_wall"] == {"L": "left", "R": "right"}[entry["laterality"]]
        assert raw.spacing_mm == pytest.approx((240 / 64, 240 / 64))
        assert 40 <= attributes["age"] < 80
        boxes += len(raw.boxes)
    assert boxes > 20
    assert {"Normal", "Benign", "Malignant", "Interval"} == {entry["status"] for entry in truth.values()}
    repeated = [item for item in found.values() if item.attributes["duplicate_studies"]]
    assert len(repeated) == 8


def test_shown_images_are_the_phantoms_of_every_vendor(simulated):
    """Windows, a look-up table, MONOCHROME1 and JPEG-LS all lead to the same picture."""
    found = items(simulated, intents=None)
    for number in (0, 1, 5, 7):
        woman, vendor = Woman(0, number), VENDORS[number]
        looks = {1: vendor.look, 2: "raw"} if number % 2 else {1: vendor.look}
        for part, look in looks.items():
            made = woman.mammogram(SIDES[1], VIEWS[1], (64, 51), look)
            raw = found[f"{ROOT}.{number + 1}.1.{part}.4"].load()
            expected = 1 - made.image if look == "raw" else made.image
            np.testing.assert_allclose(raw.image[0] / 65535, expected, atol=2e-3)


def test_machines_and_intents_choose_without_reading_pixels(simulated, monkeypatch):
    """Lorad Selenia is half of the clients; raw images are asked for by name."""
    import mirage.sources.optimam as reader

    def fail(path):
        raise AssertionError(f"{path} was opened")

    selenia = items(simulated, manufacturers=["Hologic"], models=["lorad selenia"])
    assert {item.subject_id for item in selenia.values()} == {f"demd{n + 1}" for n in (0, 2, 4, 6, 8, 10)}
    # The client without one header in JSON has another model; what is left of hers is not opened.
    monkeypatch.setattr("mirage.sources.images.read_image", fail)
    hologic = items(simulated, manufacturers=["Hologic"])
    assert {item.attributes["model"] for item in hologic.values()} == {"Lorad Selenia", "Selenia Dimensions"}
    raw = items(simulated, intents=["FOR PROCESSING"])
    assert {int(item.subject_id[4:]) % 2 for item in raw.values()} == {0}
    headers = [path for path in simulated.rglob("*.json") if path.stem.startswith(ROOT)]
    assert headers
    monkeypatch.setattr(reader, "read_header", fail)
    with pytest.raises(AssertionError, match=r"demd5.*1\.1\.2\.dcm was opened"):
        items(simulated)
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"'manufacturers': \['Fuji'\].*SIEMENS Mammomat Inspiration FOR"):
        items(simulated, manufacturers=["Fuji"])


@pytest.mark.parametrize(
    ("given", "keep"),
    [
        ({"lesions": ["mass"], "boxed_only": True}, lambda e: "mass" in e["kinds"]),
        ({"boxed_only": True}, lambda e: e["kinds"]),
        ({"healthy_only": True}, lambda e: not e["kinds"]),
        ({"views": ["MLO"]}, lambda e: e["view"] == "MLO"),
        ({"laterality": "L", "views": ["CC"]}, lambda e: (e["laterality"], e["view"]) == ("L", "CC")),
        ({"statuses": ["Malignant", "Interval"]}, lambda e: e["status"] in ("Malignant", "Interval")),
    ],
)
def test_options_choose_images(simulated, given, keep):
    """All that are given must hold."""
    truth = read_json(simulated / "ground_truth.json")["images"]
    expected = set()
    for name, entry in truth.items():
        kinds = {lesion["kind"] for lesion in entry["lesions"]}
        if not entry["raw"] and keep({**entry, "kinds": kinds}):
            expected.add(name.split("/")[1])
    assert expected
    assert set(items(simulated, **given)) == expected


@pytest.mark.parametrize("ending", [".xlsx", ".csv", ".tsv"])
def test_a_table_of_marks_says_the_same_as_the_json_files(simulated, tmp_path, ending):
    """As the spreadsheets of the studies; a row a mark, or an empty one."""
    table = tmp_path / f"marks{ending}"
    frame = pd.read_excel(simulated / "marks.xlsx", dtype=str)
    if ending != ".xlsx":
        frame.to_csv(table, index=False, sep="\t" if ending == ".tsv" else ";")
    by_json = items(simulated)
    by_table = items(simulated, table="marks.xlsx" if ending == ".xlsx" else str(table))
    assert by_json.keys() == by_table.keys()
    for uid, item in by_json.items():
        one, other = item.load().boxes, by_table[uid].load().boxes
        assert [(box["label"], edges(box)) for box in one] == [(box["label"], edges(box)) for box in other]
        assert item.attributes["lesion_types"] == by_table[uid].attributes["lesion_types"]
    healthy = items(simulated, table="marks.xlsx", healthy_only=True)
    assert healthy.keys() == items(simulated, healthy_only=True).keys()


def test_a_prepared_tree_keeps_boxes_attributes_and_clients(simulated, tmp_path):
    """In 16 bits; both views of a client in one split."""
    chosen = options(simulated, manufacturers=["Hologic"])
    config = DatasetConfig(source=chosen, prepare=PrepareOptions(size=32, bits=16, fov="none"))
    prepare_shard(config, open_source(chosen), 0, tmp_path)
    gather(tmp_path, name="screening", shards=1, split=SplitOptions(), max_failed_fraction=0)
    dataset = Dataset(tmp_path)
    assert dataset.items.groupby("subject_id")["split"].nunique().max() == 1
    stored = [dataset.item(index) for index in range(len(dataset))]
    assert len(stored) == 4 * 8
    assert sum(len(item.boxes) for item in stored) >= 8
    assert {item.attributes["manufacturer"] for item in stored} == {"HOLOGIC, Inc."}
    assert all(item.image.max() > 20000 for item in stored)


def test_a_shard_lists_its_own_clients_without_the_headers_of_others(simulated, monkeypatch):
    """All shards together list what the whole does."""
    import mirage.sources.optimam as reader

    def told(items: Iterable[SourceItem]) -> list[tuple]:
        return [(item.item_id, item.subject_id, item.attributes) for item in items]

    def read(path: Path) -> dict[str, Any]:
        opened.append(path)
        return read_object(path)

    opened: list[Path] = []
    monkeypatch.setattr(reader, "read_object", read)
    archive = source(simulated, manufacturers=["Hologic"], intents=None)
    whole = told(archive.items())
    assert {path.parts[-3] for path in opened} == {f"demd{number}" for number in range(1, 13)}
    for kept in ({"demd1"}, {"demd4", "demd12"}, {"demd2"}):
        opened.clear()
        found = told(archive.items_of(kept.__contains__))
        assert found == [item for item in whole if item[1] in kept]
        # The second is no Hologic's: what is said where nothing is asked for needs all clients.
        assert {path.parts[-3] for path in opened} == kept or kept == {"demd2"}


# --- odd trees ---------------------------------------------------------------------------------------


def test_marks_are_boxes_whatever_the_order_of_corners_and_numbers_as_text(tree):
    """From the lower left to the upper right, as documented."""
    first = items(tree)[FIRST]
    assert edges(first.load().boxes[0]) == [10, 20, 30, 40]
    assert first.attributes["lesion_types"] == "mass"
    assert first.attributes["age"] == 58
    assert first.subject_id == "demd7"


@pytest.mark.parametrize(
    "corners", [{"X1": None}, {"Y2": ""}, {"X2": "nan"}, {"X1": 0, "Y1": 0, "X2": 0, "Y2": 0}]
)
def test_a_mark_without_coordinates_gives_no_box_and_no_healthy_image(tree, caplog, corners):
    """It is counted, and said in the log."""
    marked(tree, {FIRST: {"5": {**MASS, **corners}}, SECOND: {}})
    found = items(tree)
    assert found[FIRST].load().boxes == []
    assert found[FIRST].attributes["unplaced_marks"] == 1
    assert "1 marks have no coordinates" in caplog.text
    assert items(tree, healthy_only=True).keys() == {SECOND}


def test_a_lesion_outside_its_image_fails_that_image(tree):
    """The other one is read."""
    marked(tree, {FIRST: {"5": {**MASS, "X2": 400}}, SECOND: {}})
    found = items(tree)
    with pytest.raises(DataError, match=rf"{FIRST}\.dcm: the box mass .* reaches outside the image"):
        found[FIRST].load()
    found[SECOND].load()


def test_exchanged_coordinates_are_told_and_mended_by_a_list(tree, tmp_path):
    """Outside as they are, inside when exchanged; and where both fit, the list alone decides."""
    marked(tree, {FIRST: {"5": {**MASS, "X1": 50, "X2": 60}}, SECOND: {"6": MASS}})
    with pytest.raises(
        DataError, match=r"inside it with X and Y exchanged; list the image in `source.swapped`"
    ):
        items(tree)[FIRST].load()
    listed = tmp_path / "swapped.csv"
    listed.write_text(f"image\n{FIRST}\n")
    found = items(tree, swapped=str(listed))
    assert edges(found[FIRST].load().boxes[0]) == [20, 50, 40, 60]
    assert edges(found[SECOND].load().boxes[0]) == [10, 20, 30, 40]
    listed.write_text("image\n1.2.3\n")
    with pytest.raises(DataError, match=r"'1\.2\.3' is not in the JSON files"):
        items(tree, swapped=str(listed))


def test_an_image_in_two_studies_is_one_item_with_all_its_marks(tree, caplog):
    """With a warning, and an attribute that names the other study."""
    record = json.loads((tree / "data/demd7/imagedb_demd7.json").read_text())
    other = f"{ROOT}.7.2"
    mark = {"MarkID": 6, "X1": 1, "Y1": 1, "X2": 9, "Y2": 9, "FocalAsymmetry": "1"}
    record["STUDIES"][other] = {f"{other}.1": {FIRST: {"5": MASS, "6": mark}}}
    (tree / "data/demd7/imagedb_demd7.json").write_text(json.dumps(record))
    found = list(source(tree).items())
    assert [item.item_id for item in found] == [f"demd7/{FIRST}", f"demd7/{SECOND}"]
    assert found[0].attributes["duplicate_studies"] == other
    assert {box["label"] for box in found[0].load().boxes} == {"mass", "asymmetry"}
    assert "1 images are in several studies" in caplog.text


def test_an_image_in_two_series_keeps_its_marks(tree):
    """Whichever of them has any."""
    record = json.loads((tree / "data/demd7/imagedb_demd7.json").read_text())
    record["STUDIES"][STUDY][f"{STUDY}.2"] = {FIRST: "", SECOND: {"6": MASS}}
    (tree / "data/demd7/imagedb_demd7.json").write_text(json.dumps(record))
    assert {uid: len(item.load().boxes) for uid, item in items(tree).items()} == {FIRST: 1, SECOND: 1}


def test_an_image_of_two_clients_fails(tree):
    """They may be one woman, in two splits."""
    shutil.copytree(tree / "images/demd7", tree / "images/demd8")
    marked(tree, {FIRST: {}, SECOND: {}}, client="demd8")
    found = list(source(tree).items())
    assert len(found) == 2
    with pytest.raises(DataError, match="is an image of the clients demd7 and demd8"):
        found[0].load()
    shards = [list(source(tree).items_of(name.__eq__)) for name in ("demd7", "demd8")]
    assert [len(items) for items in shards] == [0, 2]
    with pytest.raises(DataError, match="is an image of the clients demd7 and demd8"):
        shards[1][0].load()


def test_endings_may_be_in_capitals(tree):
    """As copies from other systems have them."""
    file = tree / f"images/demd7/{STUDY}/{FIRST}.dcm"
    file.rename(file.with_suffix(".DCM"))
    item = items(tree)[FIRST]
    assert item.attributes["file"].endswith(f"{FIRST}.DCM")
    assert item.load().image.shape == (1, 64, 48)


def test_a_header_in_json_counts_before_that_of_the_image(tree):
    """Numbers may be text there; what it does not say stays unknown."""
    values = {"t00080070": ["SIEMENS"], "t00080068": ["FOR PRESENTATION"], "t00200062": ["R"]}
    spacing = {"t00181164": ["0.07", "0.07"], "t00181114": ["1.4"], "t001811A0": ["50"]}
    header(tree, FIRST, **values, t00185101=["RMLO"], t00281300=["YES"], **spacing)
    item = items(tree)[FIRST]
    expected = {
        "manufacturer": "SIEMENS",
        "model": None,
        "laterality": "R",
        "view": "MLO",
        "implant": True,
        "thickness_mm": 50.0,
        "native_spacing_mm": pytest.approx(0.05),
        "age": None,
    }
    assert {key: item.attributes[key] for key in expected} == expected
    assert item.load().spacing_mm == pytest.approx((0.05, 0.05))


def test_a_damaged_header_fails_its_image_and_a_damaged_list_is_refused(tree):
    """One image against all of a client's."""
    path = tree / f"data/demd7/{STUDY}/{FIRST}.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"00080070"')
    with pytest.raises(DataError, match=rf"{FIRST}\.json: not a readable JSON file"):
        items(tree, intents=None)[FIRST].load()
    (tree / "data/demd7/imagedb_demd7.json").write_text("[]")
    with pytest.raises(DataError, match=r"imagedb_demd7\.json: holds list, expected an object"):
        items(tree)


def test_a_listed_image_that_is_absent_fails_or_is_left_out_of_a_part(tree):
    """It never vanishes by itself."""
    header(tree, FIRST, t00080068=["FOR PRESENTATION"])
    (tree / f"images/demd7/{STUDY}/{FIRST}.dcm").unlink()
    with pytest.raises(DataError, match=r"imagedb_demd7\.json lists it, but the file is not there"):
        items(tree)[FIRST].load()
    assert items(tree, partial=True).keys() == {SECOND}


def test_an_image_that_no_list_knows_is_taken_but_not_for_healthy(tree):
    """Its marks are unknown."""
    marked(tree, {FIRST: {"5": MASS}})
    assert items(tree).keys() == {FIRST, SECOND}
    with pytest.raises(DataError, match="none of the 2 images"):
        items(tree, healthy_only=True)


def test_marks_that_mean_nothing_fail_their_image_and_unknown_words_are_kept(tree, caplog):
    """A flag decides what a lesion is; a word of description does not."""
    marked(tree, {FIRST: {"5": {**MASS, "Mass": "maybe"}}, SECOND: {"6": {**MASS, "X1": "left"}}})
    found = items(tree)
    with pytest.raises(DataError, match=r"mark 5: Mass is 'maybe', expected 1 or 0.*imagedb_demd7\.json"):
        found[FIRST].load()
    with pytest.raises(DataError, match="mark 5: its corners are left, 40, 30, 20"):
        found[SECOND].load()
    assert items(tree, boxed_only=True).keys() == {FIRST, SECOND}, "failed rows, and none passed over"
    marked(tree, {FIRST: {"5": {**MASS, "MassClassification": "Star shaped", "Conspicuity": "Glaring"}}})
    box = items(tree)[FIRST].load().boxes[0]
    assert (box["label"], box["margin"], box["conspicuity"]) == ("mass", "star_shaped", "glaring")
    assert "marks say MassClassification 'star_shaped', which is not known" in caplog.text


def test_an_image_without_intent_is_taken_only_where_all_are(tree, caplog):
    """It is said in the log."""
    header(tree, FIRST, t00080070=["HOLOGIC, Inc."])
    assert items(tree).keys() == {SECOND}
    assert "1 images do not say their presentation intent" in caplog.text
    assert items(tree, intents=None).keys() == {FIRST, SECOND}


def test_pixels_may_be_read_as_stored(tree):
    """Without the window."""
    path = tree / f"images/demd7/{STUDY}/{FIRST}.dcm"
    values = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)
    tags = {"PresentationIntentType": "FOR PRESENTATION", "WindowCenter": 500, "WindowWidth": 100}
    write(path, values, **tags)
    assert items(tree)[FIRST].load().image.max() == 65535
    stored = items(tree, pixels="stored")[FIRST].load()
    np.testing.assert_array_equal(stored.image[0], values)
    assert stored.full_range == (0, 4095)


def test_a_table_may_know_images_that_are_absent_and_rows_that_cannot_be(tree, tmp_path):
    """Failed rows both; a table without the columns is refused, a missing one found at parse time."""
    table = tmp_path / "marks.csv"
    rows = [
        {**EMPTY, "x1": "1", "y1": "1", "x2": "9", "y2": "nine"},
        {**EMPTY, "image_id": "1.2.9", "x1": "1", "y1": "1", "x2": "9", "y2": "9"},
    ]
    pd.DataFrame(rows).to_csv(table, index=False)
    found = items(tree, table=str(table), intents=None)
    with pytest.raises(DataError, match=r"marks\.csv, line 2: its corners are 1, 1, 9, nine"):
        found[FIRST].load()
    with pytest.raises(DataError, match="the table lists it, but the file is not there"):
        found["1.2.9"].load()
    pd.DataFrame(rows).drop(columns="x2").to_csv(table, index=False)
    with pytest.raises(DataError, match=r"no sheet has the columns image_id .* x2 or xmax"):
        items(tree, table=str(table))
    with pytest.raises(LayoutError, match=r"`source\.table` is .*nowhere\.xlsx"):
        source(tree, table="nowhere.xlsx").check_layout()


def test_a_table_of_other_images_is_refused_and_not_taken_for_healthy_ones(tree, tmp_path):
    """Such as one whose identifiers went through a spreadsheet as numbers."""
    table = tmp_path / "marks.csv"
    pd.DataFrame([{**EMPTY, "image_id": "1.2826E+30"}]).to_csv(table, index=False)
    for partial in (False, True):
        with pytest.raises(DataError, match=rf"names none of the 2 images .*{FIRST}.* is 1.2826E\+30"):
            items(tree, table=str(table), partial=partial)


def test_a_table_may_have_decimal_commas_and_words_that_are_not_known(tree, tmp_path, caplog):
    """Of European spreadsheets; a word of malignancy that is not known is named."""
    table = tmp_path / "marks.csv"
    rows = ["file;x1;y1;x2;y2;pathologies;malignancy", f"a\\{FIRST}.DCM;10,5;4;20,25;9,0;mass;perhaps"]
    table.write_text("\n".join(rows))
    (box,) = items(tree, table=str(table))[FIRST].load().boxes
    assert edges(box) == [10.5, 4, 20.25, 9]
    assert box["malignancy"] is None
    assert "1 marks say malignancy 'perhaps', which is not known" in caplog.text


def test_a_table_alone_lists_marks_where_there_is_no_data_tree(tree, tmp_path):
    """Headers come from the images then; the second sheet of a workbook may be the one."""
    shutil.rmtree(tree / "data")
    rows = [{"Image ID": FIRST, "X1": 30.0, "Y1": 20.0, "X2": 10.0, "Y2": 40.0, "Pathologies": "mass"}]
    with pd.ExcelWriter(tmp_path / "marks.xlsx") as book:
        pd.DataFrame([{"read": "me"}]).to_excel(book, sheet_name="about", index=False)
        pd.DataFrame(rows).to_excel(book, sheet_name="marks", index=False)
    opened = source(tree, table=str(tmp_path / "marks.xlsx"))
    opened.check_layout()
    first, second = opened.items()
    assert edges(first.load().boxes[0]) == [10, 20, 30, 40]
    assert second.load().boxes == []
    assert second.load().unplaced, "no row says that it is healthy"
    with pytest.raises(LayoutError, match=r"data is missing"):
        source(tree).check_layout()


def test_exclusions_name_images_by_uid(tree, tmp_path):
    """As in the JSON files."""
    listed = tmp_path / "exclude.csv"
    listed.write_text(f"image,reason\n{FIRST},implant\n")
    assert items(tree, exclude=str(listed)).keys() == {SECOND}


# --- words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("MLO", ("MLO", None)),
        ("LCC", ("CC", "L")),
        ("R_MLO", ("MLO", "R")),
        ("lmlo", ("MLO", "L")),
        ("LMO", ("LMO", None)),
        ("LML", ("ML", "L")),
        ("CCID", ("CC", None)),
        ("XCCL", ("XCCL", None)),
        ("FLATFIELD", ("FLATFIELD", None)),
        ("", (None, None)),
        (None, (None, None)),
    ],
)
def test_words_of_views(word, expected):
    """With and without a side, and with an implant pushed back."""
    assert view_of(word) == expected


def test_codes_of_views_count_where_there_is_no_word():
    """Of the older and the newer scheme, or their meaning; modifiers tell of implants."""

    def coded(value: str, meaning: str, *modifiers: str) -> JsonHeader:
        code = {"00080100": {"Value": [value]}, "00080104": {"Value": [meaning]}}
        more = [{"00080100": {"Value": [modifier]}} for modifier in modifiers]
        return JsonHeader({"00540220": {"Value": [{**code, "00540222": {"Value": more}}]}})

    assert mammogram_header(coded("R-10242", "")).view == "CC"
    assert mammogram_header(coded("399368009", "")).view == "MLO"
    assert mammogram_header(coded("X", "medio-lateral oblique")).view == "MLO"
    assert mammogram_header(coded("X", "cranio-caudal", "399209000")).implant_displaced
    for odd in ({}, {"00540220": {"Value": ["CC"]}}, {"00540220": "CC"}, {"00540220": {"Value": [{}]}}):
        assert mammogram_header(JsonHeader(odd)).view is None


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({"Mass": 1}, ("mass",)),
        ({"Mass": "1", "WithCalcification": 1}, ("mass", "calcification")),
        ({"SuspiciousCalcifications": True}, ("calcification",)),
        ({"Vascular": "Y"}, ("calcification",)),
        (
            {"Mass": 1, "Vascular": "Vascular", "FatNecrosis": "FatNecrosis"},
            ("mass", "calcification", "other"),
        ),
        ({"Skin": "Skin"}, ("other",)),
        ({"BenignClassification": "coarse_or_popcorn-like"}, ("calcification",)),
        ({"MassClassification": "spiculated"}, ("mass",)),
        ({"ArchitecturalDistortion": 1, "FocalAsymmetry": 1}, ("distortion", "asymmetry")),
        ({"Mass": 0, "FocalAsymmetry": "1.0"}, ("asymmetry",)),
        ({}, ("other",)),
    ],
)
def test_flags_of_marks_are_kinds_of_lesions(fields, kinds):
    """The first is what a box is called by."""
    assert mark_of_json("1", fields).kinds == kinds


def test_words_of_tables_are_kinds_of_lesions():
    """An image without a mark has an empty row."""
    corners = dict(zip(("x1", "y1", "x2", "y2"), "1234", strict=True))
    mark = mark_of_row({**corners, "pathologies": "mass suspicious_calcifications"}, "t, line 2")
    assert mark is not None
    assert mark.kinds == ("mass", "calcification")
    assert mark_of_row({"pathologies": ""}, "t, line 3") is None
    strange = mark_of_row({**corners, "pathologies": "shadow"}, "t, line 4")
    assert strange is not None
    assert (strange.kinds, strange.strange) == (("other",), ("pathology 'shadow'",))


def test_pathology_of_a_lesion_and_status_of_a_client():
    """A linked lesion counts by its own biopsy, others by what was found in the breast."""
    record = {
        "9": {
            "EpisodeType": "R",
            "SCREENING": {
                "L": {"DateTaken": "20150102", "Opinion": "R Malignant"},
                "right_opinion": "Benign",
            },
            "BIOPSYWIDE": {
                "L": {"01": {"Opinion": "B2"}, "2": {"Opinion": "B5"}},
                "left_opinion": "Malignant",
            },
            "SURGERY": {"L": {"1": {"Opinion": "Histol normal"}}},
            "ASSESSMENT": {"R": {"4": {"DatePerformed": "2015-02-03"}}, "right_opinion": "OB"},
        },
        "8": {"OTHERSCREENING": {"1": {"L": {"DateTaken": "2012-05-06"}}}},
    }
    nbss = Nbss(record)
    assert [
        nbss.episode_of(None, date) for date in ("2015-01-02", "20150203", "2012-05-06", "1999-01-01")
    ] == [
        "9",
        "9",
        "8",
        None,
    ]
    assert nbss.episode_of("9", None) == "9"
    assert nbss.finding("9", "L", "1").malignancy == "benign"
    assert nbss.finding("9", "L", "02").malignancy == "malignant"
    assert nbss.finding("9", "R", "2").malignancy == "malignant"
    assert nbss.finding("9", "L", "3").malignancy is None
    assert (nbss.opinion("9", "L"), nbss.opinion("9", "R")) == ("malignant", "benign")
    assert nbss.opinion("8", "L") is None
    assert nbss.status == "Malignant"
    assert Nbss({"9": {**record["9"], "EpisodeType": "CI"}}).status == "Interval"
    assert (
        Nbss({"9": {"SCREENING": {"left_opinion": "Suspicious", "L": {"DateTaken": "x"}}}}).status == "Normal"
    )
    assert Nbss({"9": {"BIOPSYFINE": {"R": {"1": {"Opinion": "Benign unc mal"}}}}}).status == "Normal"
    assert Nbss({}).status is None
    assert [status_of(word) for word in ("N", "benign", "M", "Interval Cancer", "CI", "?")] == [
        "Normal",
        "Benign",
        "Malignant",
        "Interval",
        "Interval",
        None,
    ]


def test_small_words():
    """Sides and corners."""
    assert [side_of(word) for word in ("left", "R", " r ", "B", None)] == ["L", "R", "R", None, None]
    assert edges(lesion_box("mass", (9, 2, 3, 8))) == [3, 2, 9, 8]


def test_options_that_cannot_be_are_refused(tmp_path):
    """With the nearest word."""
    with pytest.raises(ValidationError, match="boxed_only and healthy_only leave no image"):
        options(tmp_path, boxed_only=True, healthy_only=True)
    with pytest.raises(ValidationError, match="views: 'MLQ' is unknown; did you mean 'ML'"):
        options(tmp_path, views=["MLQ"])
    with pytest.raises(ValidationError, match="models: '-' holds no letter"):
        options(tmp_path, models=["-"])
    with pytest.raises(ValidationError):
        options(tmp_path, lesions=["nodule"])


def test_lists_beside_the_tree_are_watched_and_not_applied_to_phantoms(tmp_path):
    """They describe real images."""
    chosen = options(tmp_path, table="a.xlsx", swapped="b.csv", exclude="c.csv")
    assert chosen.beside == {"swapped": "b.csv", "exclude": "c.csv"}
    assert chosen.simulated().beside == {}
    assert chosen.simulated().table is None


def test_spreadsheets_of_either_kind_are_read_alike(tmp_path):
    """Old workbooks, new ones and CSV; headers without regard to case and spaces."""
    import xlwt

    book = xlwt.Workbook()
    sheet = book.add_sheet("a")
    for column, (name, value) in enumerate({"Image ID": "1.2", "X 1": 7.0, "note": "nan"}.items()):
        sheet.write(0, column, name)
        sheet.write(1, column, value)
    book.save(str(tmp_path / "old.xls"))
    (tmp_path / "plain.csv").write_text("image_id;x1;note\n1.2;7,0;;;\n;;\n\n")
    columns = {"image": ["image_id"], "x": ["x1"], "note?": ["Note"], "other?": ["other"]}
    for name in ("old.xls", "plain.csv"):
        (row,) = read_spreadsheet(tmp_path / name, columns)
        assert (row["image"], row["x"], row["note"], row["other"]) == ("1.2", "7", "", "")
    (tmp_path / "broken.xlsx").write_bytes(b"no workbook")
    with pytest.raises(DataError, match=r"broken\.xlsx: not a readable spreadsheet"):
        list(read_spreadsheet(tmp_path / "broken.xlsx", columns))
