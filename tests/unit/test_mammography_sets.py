"""Readers of public sets of mammograms: lesions where they are, odd rows, missing pieces, phantoms."""

from __future__ import annotations

import csv
import math
import plistlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xlwt
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from mirage.config.datasets import DatasetConfig, PrepareOptions, SimulateOptions, SourceOptions, SplitOptions
from mirage.config.mammography import LESIONS
from mirage.config.mammography_sets import CbisDdsmSource
from mirage.data import Dataset
from mirage.data.gather import gather
from mirage.errors import DataError, LayoutError
from mirage.files import read_json
from mirage.prepare import prepare_shard
from mirage.simulate import simulate
from mirage.simulate.mammogram_files import write_dicom
from mirage.sources import Source, SourceItem, open_source
from mirage.sources.cbis_ddsm import clean_path
from mirage.sources.inbreast import birads_of, boxes_of, read_outlines
from mirage.sources.mini_mias import read_info, woman_of
from mirage.sources.outlines import box_of, inside, label_mask
from mirage.sources.rows import read_rows

ALL = list(LESIONS)


def source(reader: str, path: Path, **options) -> Source:
    """Open a source from plain options, with all kinds of lesions unless others are asked for."""
    options = {"lesions": ALL, **options}
    return open_source(
        TypeAdapter(SourceOptions).validate_python({"reader": reader, "path": str(path), **options})
    )


def items(reader: str, path: Path, **options) -> dict[str, SourceItem]:
    """Items that are taken, by id."""
    return {item.item_id: item for item in source(reader, path, **options).items()}


def corners(box: dict) -> tuple[float, ...]:
    """Edges of a box."""
    return tuple(box[key] for key in ("x0", "y0", "x1", "y1"))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Folder of the phantoms of a reader, made once."""
    made: dict[tuple[str, str | None], Path] = {}

    def of(reader: str, layout: str | None = None) -> Path:
        if (reader, layout) not in made:
            folder = tmp_path_factory.mktemp("sets") / "raw"
            simulate(SimulateOptions(subjects=6, size=128, layout=layout), reader, folder)
            made[reader, layout] = folder
        return made[reader, layout]

    return of


# --- round trips -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reader", "layout", "slack"),
    [("inbreast", None, 0), ("bcdr", None, 0), ("cbis_ddsm", "dicom", 1), ("cbis_ddsm", "jpeg", 1)],
)
def test_reader_finds_exactly_the_simulated_lesions(simulated, reader, layout, slack):
    """Kind, malignancy and place; a mask of another size than its film may be a pixel off."""
    folder = simulated(reader, layout)
    opened = source(reader, folder, masks=True)
    opened.check_layout()
    truth = read_json(folder / "ground_truth.json")["images"]
    taken = {item.item_id: item for item in opened.items()}
    assert taken.keys() == truth.keys()
    count = 0
    for name, item in taken.items():
        entry = truth[name]
        raw = item.load()
        assert raw.image.shape == (1, 128, 102)
        assert item.attributes["view"] == entry["view"]
        assert item.attributes["laterality"] == entry["laterality"]
        assert item.attributes["density"] in (None, "ABCD".index(entry["density"]) + 1)
        expected = sorted((lesion["kind"], lesion["box"]) for lesion in entry["lesions"])
        found = sorted((box["label"], [*corners(box)]) for box in raw.boxes)
        assert [kind for kind, _ in found] == [kind for kind, _ in expected]
        for (_, here), (_, there) in zip(found, expected, strict=True):
            assert here == pytest.approx(there, abs=slack)
        mask = raw.masks["label"]
        assert {opened.labels[value] for value in np.unique(mask) if value} == {kind for kind, _ in expected}
        for x0, y0, x1, y1 in (corners(box) for box in raw.boxes):
            assert mask[int(y0) : int(y1), int(x0) : int(x1)].any(axis=0).all()
        assert bool(mask.any()) == bool(expected)
        count += len(expected)
    assert count >= 10


def test_simulated_malignancy_is_read(simulated):
    """Of BCDR and CBIS-DDSM it is a lesion's own; INbreast's BI-RADS category is its image's."""
    for reader in ("bcdr", "cbis_ddsm"):
        folder = simulated(reader, "dicom" if reader == "cbis_ddsm" else None)
        truth = read_json(folder / "ground_truth.json")["images"]
        for name, item in items(reader, folder).items():
            expected = sorted((lesion["kind"], lesion["malignant"]) for lesion in truth[name]["lesions"])
            found = sorted((box["label"], box["malignancy"] == "malignant") for box in item.load().boxes)
            assert found == expected
    folder = simulated("inbreast")
    truth = read_json(folder / "ground_truth.json")["images"]
    for name, item in items("inbreast", folder).items():
        worst = {lesion["malignant"] for lesion in truth[name]["lesions"]}
        expected = {frozenset(): None, frozenset({False}): "benign"}.get(frozenset(worst), "malignant")
        assert item.attributes["malignancy"] == expected


def test_simulated_mini_mias_boxes_are_those_of_the_circles_and_hold_the_lesions(simulated):
    """A lesion whose circle is missing makes its film abnormal, and has no box."""
    folder = simulated("mini_mias")
    truth = read_json(folder / "ground_truth.json")["images"]
    taken = items("mini_mias", folder)
    assert taken.keys() == truth.keys()
    assert len({item.subject_id for item in taken.values()}) == 6
    located = unlocated = 0
    for name, item in taken.items():
        raw = item.load()
        assert raw.image.shape == (1, 128, 128)
        assert raw.spacing_mm == pytest.approx((1.6, 1.6))
        entries = [lesion for lesion in truth[name]["lesions"] if lesion["circle"]]
        assert len(raw.boxes) == len(entries)
        for box, lesion in zip(raw.boxes, entries, strict=True):
            x, y, radius = lesion["circle"]
            middle = (x + 0.5) / 8, (1023 - y + 0.5) / 8
            assert ((box["x0"] + box["x1"]) / 2, (box["y0"] + box["y1"]) / 2) == pytest.approx(middle)
            assert box["x1"] - box["x0"] == pytest.approx(radius / 4)
            x0, y0, x1, y1 = lesion["box"]
            assert box["x0"] <= x0 < x1 <= box["x1"]
            assert box["y0"] <= y0 < y1 <= box["y1"]
            assert box["label"] == lesion["kind"]
        located += len(entries)
        unlocated += len(truth[name]["lesions"]) - len(entries)
        assert (item.attributes["classes"] == "NORM") == (not truth[name]["lesions"])
    assert located >= 4
    assert unlocated == 1
    healthy = items("mini_mias", folder, healthy_only=True)
    assert healthy.keys() == {name for name, entry in truth.items() if not entry["lesions"]}


def test_simulated_bcdr_is_of_two_media(simulated):
    """Film of 8 bits, digital images of 14; the range is that of the bits, so that both are bright."""
    taken = items("bcdr", simulated("bcdr"))
    ranges = {item.attributes["medium"]: item.load().full_range for item in taken.values()}
    assert ranges == {"film": (0, 255), "digital": (0, 16383)}
    film = items("bcdr", simulated("bcdr"), media=["film"])
    assert {item.attributes["medium"] for item in film.values()} == {"film"}
    assert {name.split("/")[0] for name in taken} == {"F01", "FN01", "D01", "DN01"}


def test_simulated_women_do_not_depend_on_their_number(tmp_path, simulated):
    """A smaller set is a part of a larger one."""
    simulate(SimulateOptions(subjects=2, size=128), "bcdr", tmp_path / "raw")
    few, many = items("bcdr", tmp_path / "raw"), items("bcdr", simulated("bcdr"))
    assert set(few) < set(many)
    for name in few:
        np.testing.assert_array_equal(few[name].load().image, many[name].load().image)


def test_masks_are_stored_of_the_lesions_that_are_kept_only(simulated):
    """The number of a kind does not depend on the others."""
    opened = source("inbreast", simulated("inbreast"), lesions=["calcification"], masks=True)
    assert opened.labels == {2: "calcification"}
    values = {int(value) for item in opened.items() for value in np.unique(item.load().masks["label"])}
    assert values == {0, 2}
    without = source("inbreast", simulated("inbreast"))
    assert (without.labels, without.mask_channels) == ({}, [])
    assert next(without.items()).load().masks == {}


def test_a_prepared_set_has_boxes_masks_and_splits_by_woman(simulated, tmp_path):
    """In 16 bits, with the set's own test women, however its tables split them."""
    folder = simulated("cbis_ddsm", "dicom")
    options = CbisDdsmSource(reader="cbis_ddsm", path=str(folder), masks=True)
    config = DatasetConfig(source=options, prepare=PrepareOptions(size=64, bits=16, fov="none"))
    prepare_shard(config, open_source(options), 0, tmp_path)
    gather(tmp_path, name="cbis", shards=1, split=SplitOptions(), max_failed_fraction=0)
    dataset = Dataset(tmp_path)
    assert dataset.info.labels == {1: "mass", 2: "calcification"}
    women = dataset.items.groupby("subject_id")["split"].nunique()
    assert (women == 1).all()
    assert {"train", "test"} <= set(dataset.items["split"])
    for index in range(len(dataset)):
        item = dataset.item(index)
        (box, *_) = item.boxes
        middle = int((box["y0"] + box["y1"]) / 2), int((box["x0"] + box["x1"]) / 2)
        assert dataset.info.labels[int(item.masks[0][middle])] == box["label"]
        assert item.attributes["laterality"] in ("L", "R")


# --- mini-MIAS ---------------------------------------------------------------------------------------


def films(tmp_path: Path, *rows: str) -> Path:
    """A folder with a table of these rows and black films of all names in them."""
    (tmp_path / "info.TXT").write_text("1st column: name\n=====\n" + "\n".join(rows) + "\n")
    for name in {row.split()[0].lower() for row in rows}:
        Image.fromarray(np.zeros((1024, 1024), np.uint8)).save(tmp_path / f"{name}.pgm")
    return tmp_path


def test_mini_mias_rows_of_the_original_that_are_odd(tmp_path):
    """Without coordinates, with a note in their place, several of a film, and one that is there twice."""
    folder = films(
        tmp_path,
        "mdb001 G CIRC B 535 425 197",
        "mdb002 G NORM ",
        "mdb059 F CIRC B",
        "mdb060 F NORM",
        "mdb144 F MISC B 233 994 29",
        "mdb144 F MISC M 313 540 27",
        "mdb216 D CALC M *NOTE 3* ",
        "MDB223 d calc b 523 482 29",
        "mdb223 D CALC B 591 529 6",
        "mdb223 D CALC B 591 529 6",
    )
    taken = items("mini_mias", folder)
    found = {name: [corners(box) for box in item.load().boxes] for name, item in taken.items()}
    assert found["mdb001"] == [(338.5, 401.5, 732.5, 795.5)]
    assert found["mdb059"] == found["mdb216"] == found["mdb002"] == []
    assert found["mdb144"][0] == (204.5, 0.5, 262.5, 58.5)
    assert len(found["mdb223"]) == 2
    assert taken["mdb144"].attributes["malignancy"] == "malignant"
    assert taken["mdb216"].attributes["malignancy"] == "malignant"
    assert taken["mdb216"].attributes["lesion_types"] == "calcification"
    assert taken["mdb059"].subject_id == taken["mdb060"].subject_id == "mdb059-060"
    assert [taken[name].attributes["laterality"] for name in ("mdb059", "mdb060")] == ["L", "R"]
    assert items("mini_mias", folder, healthy_only=True).keys() == {"mdb002", "mdb060"}
    assert items("mini_mias", folder, boxed_only=True).keys() == {"mdb001", "mdb144", "mdb223"}


def test_a_circle_beyond_the_film_is_cut(tmp_path):
    """It encloses its lesion, which is on the film."""
    film = read_info(films(tmp_path, "mdb001 G CIRC B 5 1000 60") / "info.TXT")[0]
    assert corners(film.boxes[0]) == (0, 0, 65.5, 83.5)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("mdb001 X CIRC B 5 5 6", "the tissue is 'X', expected one of F, G, D"),
        ("mdb001 G WHAT B 5 5 6", "the class is 'WHAT'"),
        ("mdb001 G CIRC Q 5 5 6", "the severity is 'Q'"),
        ("mdb001 G CIRC B 5 5", "a circle needs x, y and radius, found '5 5'"),
        ("mdb001 G CIRC B 5 y 6", "y is 'y', expected a number"),
        ("mdb001 G CIRC B 5 1024 6", "is not on the film"),
        ("mdb001 G CIRC B 5 5 0", "is not on the film"),
        ("mdb002 G CIRC B 5 5 6", "mdb002 is normal in one row and listed in another"),
    ],
)
def test_mini_mias_rows_that_cannot_be_are_refused_with_their_number(tmp_path, row, said):
    """The others are explanations."""
    folder = films(tmp_path, "mdb002 G NORM", row)
    with pytest.raises(DataError, match=rf"info\.TXT, line 4: .*{said}"):
        items("mini_mias", folder)


def test_mini_mias_missing_pieces(tmp_path):
    """A film is a failed row, or left out; without the table there is no set."""
    folder = films(tmp_path, "mdb001 G CIRC B 5 5 6", "mdb002 G NORM")
    (folder / "mdb002.pgm").unlink()
    with pytest.raises(DataError, match=r"mdb002\.pgm: the table lists it, but the file is not there"):
        items("mini_mias", folder)["mdb002"].load()
    assert items("mini_mias", folder, partial=True).keys() == {"mdb001"}
    (folder / "info.TXT").unlink()
    with pytest.raises(LayoutError, match=r"has no Info\.txt"):
        source("mini_mias", folder).check_layout()
    with pytest.raises(ValidationError, match="known are MLO"):
        source("mini_mias", folder, views=["CC"])


def test_mini_mias_smaller_copy_keeps_its_lesions(tmp_path):
    """Boxes and spacing follow the size."""
    folder = films(tmp_path, "mdb001 G CIRC B 511 511 64")
    (folder / "mdb001.pgm").unlink()
    Image.fromarray(np.zeros((256, 256), np.uint8)).save(folder / "mdb001.png")
    raw = items("mini_mias", folder)["mdb001"].load()
    assert corners(raw.boxes[0]) == pytest.approx((111.875, 112.125, 143.875, 144.125))
    assert raw.spacing_mm == (0.8, 0.8)


def test_women_of_films():
    """Pairs are (2k + 1, 2k + 2)."""
    assert [woman_of(number) for number in (1, 2, 3, 322)] == ["mdb001-002"] * 2 + [
        "mdb003-004",
        "mdb321-322",
    ]


# --- INbreast ----------------------------------------------------------------------------------------


def property_list(path: Path, *rois: tuple[str | None, list[tuple[float, float]]]) -> Path:
    """Write outlines as OsiriX does."""
    written = [
        {
            **({"Name": name} if name is not None else {}),
            "NumberOfPoints": len(points),
            "Point_px": [f"({x:.6f}, {y:.6f})" for x, y in points],
        }
        for name, points in rois
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"ImageIndex": 0, "NumberOfROIs": len(rois), "ROIs": written}]
    path.write_bytes(plistlib.dumps({"Images": images}))
    return path


def square(x: float, y: float, side: float) -> list[tuple[float, float]]:
    """Corners of a square."""
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Three images of two women, one without findings, in a folder below; the spreadsheet has sums."""
    base = tmp_path / "INbreast Release 1.0"
    grey = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)
    for number, woman, side, view in (
        (101, "aa01", "R", "CC"),
        (102, "aa01", "L", "ML"),
        (103, "bb02", "L", "CC"),
    ):
        path = base / "AllDICOMs" / f"{number}_{woman}_MG_{side}_{view}_ANON.dcm"
        write_dicom(path, grey, uid=f"1.2.3.{number}", bits=12, spacing_mm=0.07)
    property_list(base / "AllXML/101.xml", ("Mass", square(10.2, 20.7, 8)))
    property_list(base / "AllXML/102.xml", ("Cluster", square(5, 5, 10)), ("Point 1", [(30.5, 40.5)]))
    lines = [
        "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads",
        "removed;removed;R;CC;201001;101;4;4c",
        "removed;removed;L;MLO;201001;102;2;2",
        "removed;removed;L;CC;201001;103;     ;1",
    ]
    (base / "INbreast.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_inbreast_reads_names_outlines_and_table(release):
    """The woman is in the file's name, the view too, and the outline's pixels are whole ones."""
    opened = source("inbreast", release)
    opened.check_layout()
    mass, cluster, healthy = opened.items()
    assert [item.subject_id for item in (mass, cluster, healthy)] == ["aa01", "aa01", "bb02"]
    assert mass.attributes == {
        "file": "INbreast Release 1.0/AllDICOMs/101_aa01_MG_R_CC_ANON.dcm",
        "laterality": "R",
        "lesion_types": "mass",
        "malignancy": "malignant",
        "view": "CC",
        "birads": "4c",
        "density": 4,
        "age": None,
        "date": "201001",
    }
    raw = mass.load()
    assert [corners(box) for box in raw.boxes] == [(10, 20, 19, 29)]
    assert raw.boxes[0]["name"] == "Mass"
    assert raw.spacing_mm == (0.07, 0.07)
    assert cluster.attributes["view"] == "MLO"
    assert cluster.attributes["malignancy"] == "benign"
    assert healthy.attributes["density"] is None
    assert healthy.load().boxes == []
    assert items("inbreast", release, healthy_only=True).keys() == {"103"}


def test_inbreast_single_calcifications_are_lesions_where_so_asked(release):
    """Those in a cluster belong to it; an image that has one is not healthy."""
    boxes = items("inbreast", release, calcifications="all")["102"].load().boxes
    assert [corners(box) for box in boxes] == [(5, 5, 16, 16), (30, 40, 31, 41)]
    assert boxes[1]["malignancy"] is None
    property_list(release / "INbreast Release 1.0/AllXML/103.xml", ("Calcification", [(3, 3)]))
    with pytest.raises(DataError, match="none of the 3 images"):
        items("inbreast", release, healthy_only=True)
    assert items("inbreast", release)["103"].load().boxes == []


def test_inbreast_category_from_which_lesions_are_malignant(release):
    """No pathology is published with the images."""
    assert items("inbreast", release, malignant_from=5)["101"].attributes["malignancy"] == "benign"
    assert items("inbreast", release, malignant_from=None)["101"].attributes["malignancy"] is None


def test_inbreast_spreadsheet_is_preferred_and_its_sums_are_no_images(release):
    """It says of an image without outlines that it has a finding."""
    book = xlwt.Workbook()
    sheet = book.add_sheet("Folha1")
    header = ["Patient ID", "Laterality", "View", "File Name", "ACR", "Bi-Rads", "Mass ", "Micros"]
    lines = [["removed", "L", "CC", 103, 3, 1, "", "X"], [], ["", "", "", "total", "", 67]]
    for row, line in enumerate([header, *lines]):
        for column, value in enumerate(line):
            sheet.write(row, column, value)
    book.save(str(release / "INbreast Release 1.0/INbreast.xls"))
    taken = items("inbreast", release)
    assert list(taken) == ["103", "101", "102"]
    assert taken["103"].attributes["density"] == 3
    assert taken["101"].attributes["birads"] is None
    assert "103" not in items("inbreast", release, boxed_only=True)
    with pytest.raises(DataError, match="none of the 3 images"):
        items("inbreast", release, healthy_only=True)


def test_inbreast_spreadsheet_saved_anew(release):
    """As a workbook of today, or with commas."""
    table = release / "INbreast Release 1.0/INbreast.csv"
    known = {name: item.attributes for name, item in items("inbreast", release).items()}
    rows = list(csv.reader(table.open(newline=""), delimiter=";"))
    with table.open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)
    assert {name: item.attributes for name, item in items("inbreast", release).items()} == known
    table.unlink()
    frame = pd.DataFrame(rows[1:], columns=rows[0]).astype({"File Name": int, "ACR": object})
    frame.to_excel(table.with_suffix(".xlsx"), index=False)
    assert {name: item.attributes for name, item in items("inbreast", release).items()} == known


def test_inbreast_damaged_outlines_fail_their_image(release):
    """And leave the others; nobody knows that the image is healthy."""
    (release / "INbreast Release 1.0/AllXML/103.xml").write_text("<plist>")
    taken = items("inbreast", release)
    with pytest.raises(DataError, match=r"103\.xml: no property list of outlines .* or exclude the image"):
        taken["103"].load()
    assert len(taken["101"].load().boxes) == 1
    assert "103" in items("inbreast", release, boxed_only=True)
    with pytest.raises(DataError, match="none of the 3 images"):
        items("inbreast", release, healthy_only=True)


def test_inbreast_missing_pieces(release, caplog):
    """An image of the table, the tables, the outlines and the images."""
    base = release / "INbreast Release 1.0"
    (base / "AllDICOMs/103_bb02_MG_L_CC_ANON.dcm").unlink()
    with pytest.raises(DataError, match=r"103_.*the file is not there"):
        items("inbreast", release)["103"].load()
    assert items("inbreast", release, partial=True).keys() == {"101", "102"}
    (base / "INbreast.csv").unlink()
    assert items("inbreast", release).keys() == {"101", "102"}
    assert "malignancy of all images are unknown" in caplog.text
    (base / "AllXML").rename(base / "xml")
    with pytest.raises(LayoutError, match="no folder AllXML; without it no image would have a lesion"):
        source("inbreast", release).check_layout()
    (base / "AllDICOMs").rename(base / "dicom")
    with pytest.raises(LayoutError, match="no folder AllDICOMs"):
        source("inbreast", release).check_layout()


def test_outlines_are_told_by_the_names_that_people_typed(tmp_path):
    """Misspelt, in any case, missing; a spiculated region is its mass, or a mass where there is none."""
    path = property_list(
        tmp_path / "1.xml",
        ("mass", square(0, 0, 10)),
        ("Mass", square(0, 0, 10)),
        ("Espiculated  Region", square(2, 2, 20)),
        ("Spiculated region", square(60, 60, 9)),
        ("Assymetry", square(30, 30, 5)),
        ("Distortion", square(40, 30, 5)),
        ("Calcifications", square(50, 30, 5)),
        (None, [(55, 55)]),
        ("Unnamed", square(70, 30, 5)),
    )
    boxes = boxes_of(read_outlines(path), malignancy="malignant")
    assert [(box["label"], box["x0"], box.get("margin")) for box in boxes] == [
        ("mass", 0, "spiculated"),
        ("asymmetry", 30, None),
        ("distortion", 40, None),
        ("calcification", 50, None),
        ("other", 70, None),
        ("mass", 60, "spiculated"),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<plist", "no property list"),
        (plistlib.dumps({"Pictures": []}), "KeyError"),
        (plistlib.dumps({"Images": [{"ROIs": []}, {"ROIs": []}]}), "of 2 images, expected one"),
        (plistlib.dumps({"Images": [{"ROIs": [{"Name": "Mass"}]}]}), r"outline 0 \(Mass\) has 0 values"),
        (plistlib.dumps({"Images": [{"ROIs": [{"Point_px": ["(1)"]}]}]}), "no pair of numbers"),
        (plistlib.dumps({"Images": [{"ROIs": [{"Point_px": ["(1, a)"]}]}]}), "no number"),
    ],
)
def test_property_lists_that_cannot_be_are_refused(tmp_path, content, said):
    """With their file."""
    (tmp_path / "7.xml").write_bytes(content)
    with pytest.raises(DataError, match=rf"7\.xml: .*{said}"):
        read_outlines(tmp_path / "7.xml")


def test_categories():
    """As typed in the two spreadsheets."""
    texts = ("4a", "4 C", "2", "", "n/a", "7")
    assert [birads_of(text) for text in texts] == ["4a", "4c", "2", None, None, None]


# --- CBIS-DDSM ---------------------------------------------------------------------------------------

CBIS_HEADER = (
    "patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type,mass shape,"
    "mass margins,assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path"
)


def cbis_row(case: str, number: int = 1, pathology: str = "MALIGNANT", **paths: str) -> str:
    """A row as the table has it: paths of identifiers, the last with a line break in quotes."""
    patient, side, view = case.split("_", 1)[1].rsplit("_", 2)
    marked = f"{case}_{number}/1.2.{number}/1.2.3.{number}"
    film = paths.get("film", f"{case}/1.2/1.2.3/000000.dcm")
    crop, mask = paths.get("crop", f"{marked}/000000.dcm"), paths.get("mask", f"{marked}/000001.dcm")
    return f'{patient},3,{side},{view},{number},mass,OVAL,N/A,4,{pathology},5,{film},{crop},"{mask}\n"'


def cbis(tmp_path: Path, *rows: str, kind: str = "mass", part: str = "train") -> Path:
    """Write one table."""
    table = tmp_path / f"{kind}_case_description_{part}_set.csv"
    table.write_text("\n".join([CBIS_HEADER, *rows]) + "\n")
    return tmp_path


def film_image(path: Path, height: int = 100, width: int = 60) -> None:
    """A grey ramp."""
    ramp = np.linspace(0, 60000, height * width).astype(np.uint16).reshape(height, width)
    write_dicom(path, ramp, uid=f"1.2.{abs(hash(str(path)))}")


def mask_image(path: Path, box: tuple[int, int, int, int], height: int = 100, width: int = 60) -> None:
    """Black, with a white box."""
    mask = np.zeros((height, width), np.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = 255
    write_dicom(path, mask, uid=f"1.2.{abs(hash(str(path)))}", bits=8)


CASE = "Mass-Training_P_00001_LEFT_CC"


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    ("film", "marks"),
    [
        (f"{CASE}/1.2/1.2.3/000000.dcm", f"{CASE}_1/1.2.1/1.2.3.1/00000"),
        (f"CBIS-DDSM/{CASE}/07-20-2016-DDSM-1/1.0-full/1-1.dcm", f"CBIS-DDSM/{CASE}_1/07-21/1.0-ROI/1-"),
        (f"manifest-1/CBIS-DDSM/{CASE}/1.2/1.2.3/1-1.dcm", f"manifest-1/CBIS-DDSM/{CASE}_1/a/b/1-"),
    ],
)
def test_cbis_mask_is_told_by_what_it_holds(tmp_path, film, marks, swapped):
    """In any tree, under either's name."""
    folder = cbis(tmp_path, cbis_row(CASE))
    film_image(tmp_path / film)
    mask_image(tmp_path / f"{marks}{0 if swapped else 1}.dcm", (10, 20, 30, 45))
    film_image(tmp_path / f"{marks}{1 if swapped else 0}.dcm", 30, 25)
    item = items("cbis_ddsm", folder)[CASE]
    assert item.attributes["file"] == film
    assert (item.subject_id, item.split) == ("P_00001", "train")
    assert item.attributes["lesion_types"] == "mass"
    raw = item.load()
    assert [corners(box) for box in raw.boxes] == [(10, 20, 30, 45)]
    box = raw.boxes[0]
    assert (box["malignancy"], box["shape"], box["subtlety"]) == ("malignant", "OVAL", "5")
    assert "margin" not in box
    assert "marks" not in box


def test_cbis_mask_and_cut_out_in_folders_of_their_own(tmp_path):
    """As earlier copies have them."""
    row = cbis_row(CASE, crop=f"{CASE}_1/5/6/000000.dcm", mask=f"{CASE}_1/7/8/000000.dcm")
    folder = cbis(tmp_path, row)
    film_image(tmp_path / CASE / "1.2/1.2.3/000000.dcm")
    film_image(tmp_path / f"{CASE}_1/7/8/000000.dcm", 20, 20)
    mask_image(tmp_path / f"{CASE}_1/5/6/000000.dcm", (1, 2, 3, 4))
    assert [corners(box) for box in items("cbis_ddsm", folder)[CASE].load().boxes] == [(1, 2, 3, 4)]


def test_cbis_several_abnormalities_of_a_film_are_one_image(tmp_path):
    """With a mask each; a kind that is not kept needs none."""
    folder = cbis(tmp_path, cbis_row(CASE), cbis_row(CASE, 2, "BENIGN_WITHOUT_CALLBACK"))
    film_image(tmp_path / CASE / "1.2/1.2.3/000000.dcm")
    for number in (1, 2):
        path = tmp_path / f"{CASE}_{number}/1.2.{number}/1.2.3.{number}/000001.dcm"
        mask_image(path, (10 * number, 5, 10 * number + 5, 9))
    boxes = items("cbis_ddsm", folder)[CASE].load().boxes
    assert [(box["x0"], box["malignancy"]) for box in boxes] == [(10, "malignant"), (20, "benign")]
    assert items("cbis_ddsm", folder, lesions=["calcification"])[CASE].load().boxes == []


def test_cbis_mask_of_another_size_is_scaled_where_its_proportions_are_the_films(tmp_path):
    """Otherwise nobody knows where the lesion is."""
    folder = cbis(tmp_path, cbis_row(CASE))
    film_image(tmp_path / CASE / "1.2/1.2.3/000000.dcm")
    mask = tmp_path / f"{CASE}_1/1.2.1/1.2.3.1/000001.dcm"
    mask_image(mask, (20, 40, 60, 90), 200, 120)
    assert [corners(box) for box in items("cbis_ddsm", folder)[CASE].load().boxes] == [(10, 20, 30, 45)]
    mask_image(mask, (20, 40, 60, 90), 200, 126)
    with pytest.raises(DataError, match=r"abnormality 1: no file is its mask.*000001\.dcm of 200 x 126"):
        items("cbis_ddsm", folder)[CASE].load()


def test_cbis_missing_and_damaged_pieces(tmp_path):
    """A film, a mask, an empty mask, a film in place of the mask, a row twice, no table."""
    folder = cbis(tmp_path, cbis_row(CASE), cbis_row("Mass-Training_P_00002_RIGHT_MLO"))
    film_image(tmp_path / CASE / "1.2/1.2.3/000000.dcm")
    taken = items("cbis_ddsm", folder)
    with pytest.raises(DataError, match="the file is not there"):
        taken["Mass-Training_P_00002_RIGHT_MLO"].load()
    assert items("cbis_ddsm", folder, partial=True).keys() == {CASE}
    with pytest.raises(DataError, match=r"abnormality 1: no file is its mask.*found no file"):
        taken[CASE].load()
    mask = tmp_path / f"{CASE}_1/1.2.1/1.2.3.1/000001.dcm"
    mask_image(mask, (0, 0, 0, 0))
    with pytest.raises(DataError, match="marks nothing"):
        items("cbis_ddsm", folder)[CASE].load()
    film_image(mask)
    with pytest.raises(DataError, match="no file is its mask"):
        items("cbis_ddsm", folder)[CASE].load()
    cbis(tmp_path, cbis_row(CASE), cbis_row(CASE))
    with pytest.raises(DataError, match="abnormality 1 is listed twice"):
        items("cbis_ddsm", folder)[CASE].load()
    next(folder.glob("*.csv")).unlink()
    with pytest.raises(LayoutError, match="has no table such as mass_case_description_train_set"):
        source("cbis_ddsm", folder).check_layout()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("MALIGNANT", "CANCER"), "pathology is 'CANCER', expected one of MALIGNANT"),
        (("LEFT", "FRONT"), "names no patient, breast, view or film"),
        (("P_00001,", ","), "names no patient"),
        (("image view", "picture"), "no column image view or image_view or view"),
    ],
)
def test_cbis_rows_that_cannot_be_are_refused(tmp_path, change, said):
    """With file and line."""
    folder = cbis(tmp_path, cbis_row(CASE))
    table = next(folder.glob("*.csv"))
    table.write_text(table.read_text().replace(*change))
    with pytest.raises(DataError, match=said):
        items("cbis_ddsm", folder)


def test_a_woman_of_a_training_and_a_test_set_is_in_test(tmp_path, caplog):
    """The archive's own split would leak."""
    cbis(tmp_path, cbis_row(CASE), cbis_row("Mass-Training_P_00002_LEFT_CC"))
    folder = cbis(tmp_path, cbis_row("Calc-Test_P_00001_LEFT_CC"), kind="calc", part="test")
    film_image(tmp_path / CASE / "1.2/1.2.3/000000.dcm")
    splits = {name: item.split for name, item in items("cbis_ddsm", folder).items()}
    assert splits == {
        CASE: "test",
        "Mass-Training_P_00002_LEFT_CC": "train",
        "Calc-Test_P_00001_LEFT_CC": "test",
    }
    assert "1 women are in a training and in a test set, as P_00001 is" in caplog.text


def test_simulated_cbis_has_the_traps(simulated):
    """Or the round trip shows nothing: swapped paths, line breaks, a film in two sets, both splits."""
    folder = simulated("cbis_ddsm", "dicom")
    rows = list(csv.reader((folder / "mass_case_description_train_set.csv").open(newline="")))[1:]
    swapped = {clean_path(row[-1]).endswith("000000.dcm") for row in rows}
    assert swapped == {True, False}
    assert all("\n" in row[-1] + row[-2] for row in rows)
    taken = items("cbis_ddsm", folder)
    shared = {name.split("_", 1)[1] for name in taken if name.startswith("Mass")}
    assert shared & {name.split("_", 1)[1] for name in taken if name.startswith("Calc")}
    assert {item.split for item in taken.values()} == {"train", "test"}
    with open(simulated("cbis_ddsm", "jpeg") / "csv/dicom_info.csv", encoding="utf-8") as handle:
        assert "ROI mask images" in handle.read()


def test_paths_of_the_tables_are_cleaned():
    """Line breaks, quotes and other systems' separators."""
    assert clean_path('"Mass-Test_P_1/2/\n3/000000.dcm\n"') == "Mass-Test_P_1/2/3/000000.dcm"
    assert clean_path("Mass-Test_P_1\\2\\3\\000000.dcm") == "Mass-Test_P_1/2/3/000000.dcm"


# --- BCDR --------------------------------------------------------------------------------------------

FLAGS = (
    "mammography_nodule,mammography_calcification,mammography_microcalcification,"
    "mammography_axillary_adenopathy,mammography_architectural_distortion,mammography_stroma_distortion"
)
OUTLINES = (
    "patient_id,study_id,series,lesion_id,segmentation_id,image_view,image_filename,lw_x_points,lw_y_points,"
    f"mammography_type,{FLAGS},age,density,classification"
)


def outline_row(lesion: int, flags: str, kind: str = "Benign", points: str = "10 20 20 10, 5 5 9 9") -> str:
    """A row as the repository has it, with blanks."""
    return (
        f"2, 3, 1, {lesion}, {lesion}, 4, patient_2/study_3/img_2_3_1_LO.tif, {points}, 1, {flags}, 62, NaN, "
        f" {kind}"
    )


def bcdr(folder: Path, part: str, *rows: str) -> Path:
    """One folder of the repository, with one image of 40 x 30 pixels."""
    base = folder / f"BCDR-{part.upper()}_dataset"
    (base / "patient_2/study_3").mkdir(parents=True, exist_ok=True)
    (base / f"bcdr_{part}_outlines.csv").write_text("\n".join([OUTLINES, *rows]) + "\n")
    grey = np.arange(40 * 30, dtype=np.uint16).reshape(40, 30) * (13 if part[0] == "d" else 0)
    values = grey if part[0] == "d" else grey.astype(np.uint8)
    Image.fromarray(values).save(base / "patient_2/study_3/img_2_3_1_LO.tif")
    return folder


def test_bcdr_reads_outlines_without_a_list_of_images(tmp_path):
    """As of F03; flags tell the kind, blanks and NaN are passed over."""
    folder = bcdr(
        tmp_path,
        "f03",
        outline_row(5, "1, 1, 0, 0, 0, 0", "Malign"),
        outline_row(6, "0, 0, 1, 0, 0, 0", points="1 3 3, 1 1 3"),
        outline_row(7, "0, 0, 0, 1, 0, 0", points="4 6 6, 1 1 3"),
        outline_row(8, "0, 0, 0, 0, 0, 1", "Unknown", points="7 9 9, 1 1 3"),
    )
    source("bcdr", folder).check_layout()
    (item,) = source("bcdr", folder).items()
    assert (item.item_id, item.subject_id) == ("F03/img_2_3_1_LO", "2")
    assert item.attributes == {
        "file": "BCDR-F03_dataset/patient_2/study_3/img_2_3_1_LO.tif",
        "laterality": "L",
        "lesion_types": "mass|calcification|distortion|other",
        "malignancy": "malignant",
        "view": "MLO",
        "medium": "film",
        "study": "3",
        "age": 62,
        "density": None,
    }
    found = [(box["label"], corners(box), box["malignancy"], box.get("also")) for box in item.load().boxes]
    assert found == [
        ("mass", (10, 5, 21, 10), "malignant", "calcification"),
        ("calcification", (1, 1, 4, 4), "benign", None),
        ("other", (4, 1, 7, 4), "benign", None),
        ("distortion", (7, 1, 10, 4), None, None),
    ]


def test_bcdr_an_image_of_two_folders_is_one_with_the_lesions_of_both(tmp_path):
    """A lesion with the same numbers is one; the folder itself can be the archive."""
    bcdr(tmp_path, "d01", outline_row(5, "1, 0, 0, 0, 0, 0"))
    folder = bcdr(
        tmp_path,
        "d02",
        outline_row(5, "1, 0, 0, 0, 0, 0"),
        outline_row(6, "0, 0, 1, 0, 0, 0", points="1 3 3, 1 1 3"),
    )
    (item,) = source("bcdr", folder).items()
    assert item.item_id == "D01/img_2_3_1_LO"
    raw = item.load()
    assert [box["label"] for box in raw.boxes] == ["mass", "calcification"]
    assert raw.full_range == (0, 16383)
    (alone,) = source("bcdr", folder / "BCDR-D01_dataset").items()
    assert alone.attributes["file"] == "patient_2/study_3/img_2_3_1_LO.tif"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (outline_row(5, "1, 0, 0, 0, 0, 0", points="1 2 3, 1 2"), "has 3 values of x and 2 of y"),
        (outline_row(5, "1, 0, 0, 0, 0, 0", points="1 2 b, 1 2 3"), "no number"),
        (outline_row(5, "1, 0, 0, 0, 0, 0", "Maybe"), "classification is 'Maybe', expected Benign or Malign"),
        (outline_row(5, "1, 0, 0, 0, 0, 0").replace("2, 3, 1", ", 3, 1", 1), "names no patient"),
    ],
)
def test_bcdr_rows_that_cannot_be_are_refused(tmp_path, row, said):
    """With file and line."""
    folder = bcdr(tmp_path, "f01", outline_row(4, "1, 0, 0, 0, 0, 0"), row)
    with pytest.raises(DataError, match=rf"bcdr_f01_outlines\.csv, line 3: .*{said}"):
        items("bcdr", folder)


def test_bcdr_missing_pieces(tmp_path):
    """An outline, an image, a medium."""
    folder = bcdr(tmp_path, "f01", outline_row(5, "1, 0, 0, 0, 0, 0", points=" , "))
    (item,) = source("bcdr", folder).items()
    assert item.load().boxes == []
    with pytest.raises(DataError, match="none of the 1 images"):
        items("bcdr", folder, healthy_only=True)
    with pytest.raises(LayoutError, match=r"no table of digital.*it has bcdr_f01_outlines\.csv"):
        source("bcdr", folder, media=["digital"]).check_layout()
    next(folder.rglob("*.tif")).unlink()
    with pytest.raises(LayoutError, match="none of the 1 images"):
        items("bcdr", folder)


def test_an_outline_beyond_its_image_fails_that_image(tmp_path):
    """Or its lesion would be somewhere else."""
    folder = bcdr(tmp_path, "f01", outline_row(5, "1, 0, 0, 0, 0, 0", points="25 50 50, 1 1 9"))
    with pytest.raises(DataError, match="reaches outside the image of 30 x 40"):
        items("bcdr", folder, masks=True)["F01/img_2_3_1_LO"].load()


# --- outlines and tables -----------------------------------------------------------------------------


def test_the_box_of_an_outline_is_that_of_its_pixels():
    """Whatever the fraction; a point is its pixel."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        angle = np.sort(rng.uniform(0, 2 * math.pi, 12))
        points = 20 + rng.uniform(4, 15) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        rows, columns = np.nonzero(inside(points, (40, 40)))
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == box_of(points)
    assert np.argwhere(inside(np.array([[3.9, 1.2]]), (5, 5))).tolist() == [[1, 3]]
    assert inside(np.array([[8.0, 8.0], [-3.0, 2.0], [9.0, 1.0]]), (5, 5)).shape == (5, 5)


def test_a_lesion_inside_another_is_seen_in_the_label_mask():
    """In any order."""
    large, small = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    small[1, 1] = True
    for lesions in ([("mass", large), ("calcification", small)], [("calcification", small), ("mass", large)]):
        mask = label_mask(lesions, (4, 4))
        assert mask[1, 1] == LESIONS.index("calcification") + 1
        assert mask[0, 0] == LESIONS.index("mass") + 1


def test_tables_are_read_whatever_the_case_of_their_columns_and_with_semicolons(tmp_path):
    """A column as it is spelt comes first."""
    (tmp_path / "a.csv").write_text("FILE NAME;x;X\n7;1;2\n")
    columns = {"file": ["File Name"], "x": ["X"], "z?": ["Z"]}
    (row,) = read_rows(tmp_path / "a.csv", columns)
    assert (row["file"], row["x"], row["z"]) == ("7", "2", "")
    with pytest.raises(DataError, match="has no column z"):
        list(read_rows(tmp_path / "a.csv", ["z"]))


# --- real data ---------------------------------------------------------------------------------------


def test_real_mini_mias(shared_data):
    """21 films of as many women, 17 with a lesion; the complete table; boxes at the published circles."""
    root = shared_data / "mini-MIAS"
    opened = source("mini_mias", root, partial=True)
    opened.check_layout()
    taken = {item.item_id: item for item in opened.items()}
    assert len(taken) == len({item.subject_id for item in taken.values()}) == 21
    loaded = {name: item.load() for name, item in taken.items()}
    assert sum(bool(raw.boxes) for raw in loaded.values()) == 17
    assert {raw.image.shape for raw in loaded.values()} == {(1, 1024, 1024)}
    (box,) = loaded["mdb274"].boxes
    assert corners(box) == (4.5, 395.5, 250.5, 641.5)
    (box,) = loaded["mdb238"].boxes
    assert (box["label"], box["malignancy"], corners(box)) == (
        "calcification",
        "malignant",
        (505.5, 453.5, 539.5, 487.5),
    )
    for raw in loaded.values():
        for x0, y0, x1, y1 in (map(int, corners(box)) for box in raw.boxes):
            # The lesions of this sample are in the breast, which is bright; a mirrored y is in the dark.
            assert np.median(raw.image[0, y0:y1, x0:x1]) > 60
    films = read_info(root / "all-mias/Info.txt")
    assert len(films) == 322
    assert len({woman_of(film.number) for film in films}) == 161
    assert sum(bool(film.classes) for film in films) == 115
    assert sum(len(film.boxes) for film in films) == 119
    assert len(items("mini_mias", root, partial=True, healthy_only=True)) == 4
