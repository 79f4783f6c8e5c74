"""CT with nodules: LIDC's DICOM and XML, LUNA16, NODE21's patches, and their simulators."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydantic import TypeAdapter, ValidationError

from mirage.config.datasets import DatasetConfig, SimulateOptions, SourceOptions
from mirage.errors import DataError, LayoutError
from mirage.files import read_json
from mirage.prepare import prepare_shard
from mirage.simulate import simulate
from mirage.simulate.chest_ct import simulate_chest_ct
from mirage.simulate.ct_scans import nodule_mask, outline, simulate_scan
from mirage.sources import RawImage, Source, open_source
from mirage.sources.lidc_readings import Mark, agree, read_reading

SUBJECTS, SIZE, SEED = 3, 40, 0
"""Chests with one, one and three nodules."""


def source(reader: str, path: Path, **options) -> Source:
    """Open a source from plain options, as real data."""
    return open_source(
        TypeAdapter(SourceOptions).validate_python({"reader": reader, "path": str(path), **options})
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[str, Path]:
    """The same subjects in the three native layouts."""
    folder = tmp_path_factory.mktemp("ct")
    for name, reader in (("dicom", "lidc"), ("luna16", "lidc"), ("patches", "node21_ct_nodules")):
        layout = name if reader == "lidc" else None
        simulate(
            SimulateOptions(subjects=SUBJECTS, size=SIZE, seed=SEED, layout=layout), reader, folder / name
        )
    return {name: folder / name for name in ("dicom", "luna16", "patches")}


@pytest.fixture
def copied(tmp_path, written):
    """A copy of a layout that a test may damage."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(written[name], tmp_path / name))

    return copy


def centre_mm(raw: RawImage, mask: np.ndarray) -> np.ndarray:
    """Centre of mass of a mask in the scanner's LPS mm."""
    assert raw.affine is not None
    z, y, x = np.argwhere(mask).mean(axis=0)
    return (raw.affine @ [x, y, z, 1])[:3] * [-1, -1, 1]


# --- simulated scans are read back ------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["dicom", "luna16"])
def test_a_simulated_scan_is_read_back_value_for_value_with_its_place(written, layout):
    """Order of slices, rescaling, spacing and position are those of the scan, in both layouts."""
    items = list(source("lidc", written[layout]).items())
    assert len(items) == SUBJECTS
    for subject, item in enumerate(items):
        scan = simulate_scan(SimulateOptions(subjects=SUBJECTS, size=SIZE, seed=SEED), subject)
        raw = item.load()
        np.testing.assert_array_equal(raw.image[0], scan.values)
        assert raw.image.dtype == np.int16
        assert raw.full_range is None
        np.testing.assert_allclose(raw.spacing_mm, scan.spacing[::-1], rtol=1e-4)
        np.testing.assert_allclose(raw.affine[:3, 3] * [-1, -1, 1], scan.first, atol=0.01)
        assert item.attributes["nodules"] == sum(len(seen) >= 3 for seen in scan.seen)


@pytest.mark.parametrize("layout", ["dicom", "luna16"])
def test_nodules_lie_where_they_were_simulated(written, layout):
    """Within a voxel, and with about the volume of the truth."""
    truth = read_json(written[layout] / "ground_truth.json")["images"]
    items = list(source("lidc", written[layout], items="nodules").items())
    true = [nodule for scan in truth.values() for nodule in scan["nodules"] if nodule["readers"] >= 3]
    assert len(items) == len(true) >= 3
    sizes, known = [], []
    for item in items:
        raw = item.load()
        voxel = np.linalg.norm(raw.affine[:3, :3], axis=0)
        assert np.allclose(np.array(raw.image.shape[:0:-1]) * voxel, 50, atol=voxel.max())
        own = [nodule for nodule in true if nodule not in known]
        found = centre_mm(raw, raw.masks["label"])
        nearest = min(own, key=lambda nodule: np.linalg.norm(found - nodule["centre_mm"]))
        assert (abs(found - nearest["centre_mm"]) < voxel).all()
        known.append(nearest)
        sizes.append(raw.masks["label"].sum() * voxel.prod())
    assert 0.6 < np.sum(sizes) / np.sum([nodule["volume_mm3"] for nodule in true]) < 1.5


def test_both_layouts_show_the_same_nodules_and_share_a_namespace(written):
    """LUNA16 is a part of LIDC; its subjects are series unless the patients are told."""
    dicom, luna = (source("lidc", written[name]) for name in ("dicom", "luna16"))
    assert dicom.namespace == luna.namespace == source("node21_ct_nodules", written["patches"]).namespace
    assert [item.subject_id for item in dicom.items()] == [f"LIDC-IDRI-{n:04d}" for n in (1, 2, 3)]
    series = [item.attributes["series"] for item in dicom.items()]
    assert [item.subject_id for item in luna.items()] == sorted(series)
    for one, other in zip(dicom.items(), luna.items(), strict=True):
        np.testing.assert_array_equal(one.load().image, other.load().image)


def test_patients_of_series_are_taken_from_tcias_table(copied):
    """LUNA16 and the patches name series only; two series of one patient must not be split."""
    for name, reader in (("luna16", "lidc"), ("patches", "node21_ct_nodules")):
        root = copied(name)
        series = sorted({item.attributes["series"] for item in source(reader, root).items()})
        lines = ["Series UID,Subject ID", *(f"{uid},LIDC-IDRI-0007" for uid in series[:2])]
        (root / "metadata.csv").write_text("\n".join(lines))
        subjects = {
            item.attributes["series"]: item.subject_id
            for item in source(reader, root, patients="metadata.csv").items()
        }
        assert [subjects[uid] for uid in series] == ["LIDC-IDRI-0007", "LIDC-IDRI-0007", *series[2:]]
        (root / "metadata.csv").write_text("Series,Patient\n")
        with pytest.raises(DataError, match="no column Series UID, Subject ID; found Series, Patient"):
            list(source(reader, root, patients="metadata.csv").items())


def test_scans_are_prepared_as_volumes_of_ct(tmp_path, written):
    """The whole path: a window of Hounsfield units, the label, and where the voxels are."""
    config = DatasetConfig.model_validate(
        {
            "source": {"reader": "lidc", "items": "nodules"},
            "simulate": {"subjects": SUBJECTS, "size": SIZE, "seed": SEED},
            "prepare": {
                "kind": "volume",
                "size": [16, 16, 16],
                "spacing_mm": 3.0,
                "brain": "none",
                "outside": "keep",
                "intensity": {"kind": "window", "low": -1000, "high": 400},
                "require_mask": True,
            },
        }
    )
    prepare_shard(config, open_source(config.source, written["dicom"]), 0, tmp_path)
    facts = read_json(tmp_path / "shard-0000-of-0001.json")
    assert facts["items"] >= 3
    assert facts["labels"] == {"1": "Nodule"}
    rows = pd.read_parquet(tmp_path / "shard-0000-of-0001.parquet")
    assert (rows["window_low"] == -1000).all()
    assert (rows["window_high"] == 400).all()
    assert (rows["volume_Nodule_mm3"] > 0).all()


def test_a_chest_is_the_same_person_on_every_grid():
    """Mean values agree between a fine and a coarse grid, and nodules keep their distance."""
    chest = simulate_chest_ct(SEED, 2)
    assert len(chest.nodules) == 3
    for nodule in chest.nodules:
        assert chest.lung_depth(*(nodule.centre / chest.size)) * chest.size > nodule.reach
    means = []
    for step in (4.0, 8.0):
        axis = np.arange(-88 + step / 2, 88, step)
        means.append(chest.hounsfield((axis, axis, axis)).mean())
    assert abs(means[0] - means[1]) < 15


def test_layouts_of_the_simulator_are_checked_when_the_configuration_is_read():
    """A reader with one layout takes none by name."""
    with pytest.raises(ValidationError, match="'nrrd', expected one of dicom, luna16"):
        DatasetConfig.model_validate(
            {
                "source": {"reader": "lidc"},
                "simulate": {"layout": "nrrd"},
                "prepare": {"kind": "volume", "size": [8] * 3},
            }
        )
    with pytest.raises(ValidationError, match="this reader has one layout"):
        DatasetConfig.model_validate({"source": {"reader": "drive"}, "simulate": {"layout": "dicom"}})


# --- readings ---------------------------------------------------------------------------------------


def mark(reader: int, *pixels: tuple[int, int], uid: str = "a", malignancy: int = 3) -> Mark:
    """A reader's nodule on one slice, from (y, x)."""
    numbers = np.unique([y << 16 | x for y, x in pixels])
    return Mark(reader, "n", {uid: numbers}, {uid: 5.0}, {"malignancy": malignancy})


def square(side: int, at: int = 0) -> list[tuple[int, int]]:
    return [(y, x) for y in range(at, at + side) for x in range(at, at + side)]


def test_agreement_counts_readers_and_votes_for_every_pixel():
    """A hand case: three readers, of whom two see a larger square."""
    marks = [mark(0, *square(2)), mark(1, *square(3), malignancy=5), mark(2, *square(3)), mark(3, (9, 9))]
    (nodule,) = agree(marks, readers=3, share=0.5)
    assert nodule.readers == 3
    assert nodule.ratings["malignancy"] == pytest.approx(11 / 3)
    assert {tuple(at) for at in nodule.pixels["a"]} == set(square(3))
    (strict,) = agree(marks, readers=3, share=1.0)
    assert {tuple(at) for at in strict.pixels["a"]} == set(square(2))
    assert nodule.diameter((2.0, 0.5)) == pytest.approx(2 * np.sqrt(9 / np.pi))
    assert nodule.centre() == (5.0, 1.0, 1.0)
    assert len(agree(marks, readers=1, share=0.5)) == 2
    assert agree(marks, readers=4, share=0.5) == []


def test_marks_that_only_a_third_links_are_one_nodule_and_a_reader_counts_once():
    """Reader 0 drew two parts of what reader 1 drew as one; that is two readers, not three."""
    marks = [mark(0, (0, 0)), mark(0, (0, 2)), mark(1, (0, 0), (0, 1), (0, 2))]
    (nodule,) = agree(marks, readers=2, share=1.0)
    assert nodule.readers == 2
    assert {tuple(at) for at in nodule.pixels["a"]} == {(0, 0), (0, 2)}
    assert agree(marks, readers=3, share=0.5) == []
    assert len(agree([mark(0, (0, 0)), mark(0, (0, 0), (0, 1))], readers=1, share=0.5)) == 2


def xml(path: Path, rois: str, series: str = "1.2") -> Path:
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?><LidcReadMessage xmlns="http://www.nih.gov"><ResponseHeader>'
        f"<SeriesInstanceUid>{series}</SeriesInstanceUid></ResponseHeader><readingSession>"
        f"<unblindedReadNodule><noduleID>IL057_127364</noduleID>{rois}</unblindedReadNodule>"
        "</readingSession></LidcReadMessage>"
    )
    return path


def roi(points: list[tuple[int, int]], inclusion: str = "TRUE", uid: str = "a") -> str:
    edges = "".join(f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for x, y in points)
    return (
        f"<roi><imageZposition>-125.0</imageZposition><imageSOP_UID>{uid}</imageSOP_UID>"
        f"<inclusion>{inclusion}</inclusion>{edges}</roi>"
    )


def box(x0: int, y0: int, x1: int, y1: int) -> list[tuple[int, int]]:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]


def test_an_outline_is_outside_its_nodule_and_an_exclusion_is_a_hole(tmp_path):
    """What a square outline encloses is x 11..15, y 21..25; the hole is one pixel."""
    reading = read_reading(
        xml(tmp_path / "a.xml", roi(box(10, 20, 16, 26)) + roi(box(12, 22, 14, 24), "FALSE"))
    )
    (found,) = reading.marks
    pixels = {(number & 0xFFFF, number >> 16) for number in found.pixels["a"].tolist()}
    assert pixels == {(x, y) for x in range(11, 16) for y in range(21, 26)} - {(13, 23)}
    assert found.ratings == {}


def test_points_of_small_nodules_and_annotations_of_radiographs_are_no_marks(tmp_path):
    """Nodules below 3 mm are one point; the XML of the radiographs has another root."""
    assert read_reading(xml(tmp_path / "a.xml", roi([(5, 5)]))).marks == []
    (tmp_path / "b.xml").write_text('<IdriReadMessage xmlns="http://www.nih.gov/idri"/>')
    assert read_reading(tmp_path / "b.xml") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<LidcReadMessage><ResponseHeader>", "it may be cut off"),
        ("<LidcReadMessage/>", "no ResponseHeader/SeriesInstanceUid"),
        (None, "'IL057_127364' cannot be read"),
    ],
)
def test_damaged_annotations_name_the_file_and_what_is_wrong(tmp_path, text, message):
    """Cut off, without its series, or with a coordinate that is no number."""
    path = xml(tmp_path / "a.xml", roi(box(1, 1, 5, 5)).replace("<xCoord>1<", "<xCoord>one<", 1))
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=message) as error:
        read_reading(path)
    assert "a.xml" in str(error.value)


def test_simulated_outlines_enclose_exactly_the_nodule():
    """What the simulator draws around a slice of a nodule is read back as that slice."""
    from mirage.sources.lidc_readings import _enclosed

    scan = simulate_scan(SimulateOptions(subjects=1, size=160, seed=SEED), 1)
    mask = nodule_mask(scan, scan.chest.nodules[0])
    areas = mask.sum(axis=(1, 2))
    assert areas.max() > 20
    for at in np.flatnonzero(areas):
        numbers = _enclosed(outline(mask[at]))
        np.testing.assert_array_equal(numbers, np.unique([y << 16 | x for y, x in np.argwhere(mask[at])]))


# --- DICOM series -----------------------------------------------------------------------------------


def first_series(root: Path) -> Path:
    return sorted(root.rglob("*.xml"))[0].parent


def load_first(root: Path, **options) -> RawImage:
    return next(iter(source("lidc", root, **options).items())).load()


def edit(path: Path, **tags) -> None:
    header = pydicom.dcmread(path)
    for name, value in tags.items():
        setattr(header, name, value)
    header.save_as(path)


def test_an_oblique_series_is_placed_by_its_direction_cosines(copied):
    """Rows that run to the back and columns that run up: a sagittal stack, ordered along its normal."""
    root = copied("dicom")
    folder = first_series(root)
    (folder / "001.xml").unlink()
    for path in folder.glob("*.dcm"):
        header = pydicom.dcmread(path)
        across = float(header.ImagePositionPatient[2])
        edit(path, ImageOrientationPatient=[0, 1, 0, 0, 0, -1], ImagePositionPatient=[-across, 7, 9])
    raw = load_first(root)
    # Slices follow the normal (0, 1, 0) x (0, 0, -1), which points to the patient's right.
    right = raw.affine[:3, 2] / np.linalg.norm(raw.affine[:3, 2])
    np.testing.assert_allclose(right, [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(raw.affine[:3, 0] / np.linalg.norm(raw.affine[:3, 0]), [0, -1, 0], atol=1e-6)
    np.testing.assert_allclose(raw.affine[:3, 1] / np.linalg.norm(raw.affine[:3, 1]), [0, 0, -1], atol=1e-6)
    assert "label" not in raw.masks


def test_each_slice_is_rescaled_by_its_own_slope_and_intercept(copied):
    """PET-like series change the slope from slice to slice; fractions are kept as floats."""
    root = copied("dicom")
    path = first_series(root) / "1-001.dcm"
    before = load_first(root).image[0]
    edit(path, RescaleSlope=0.5, RescaleIntercept=-7)
    after = load_first(root).image[0]
    changed = np.flatnonzero((before != after).any(axis=(1, 2)))
    assert len(changed) == 1
    np.testing.assert_allclose(after[changed[0]], (before[changed[0]] + 1024) * 0.5 - 7)
    assert after.dtype == np.float32


def drop(folder: Path) -> None:
    paths = sorted(
        folder.glob("*.dcm"), key=lambda path: float(pydicom.dcmread(path).ImagePositionPatient[2])
    )
    paths[len(paths) // 2].unlink()


def twice(folder: Path) -> None:
    shutil.copy(folder / "1-001.dcm", folder / "1-999.dcm")


def truncate(folder: Path) -> None:
    path = folder / "1-002.dcm"
    path.write_bytes(path.read_bytes()[:-500])


def garbage(folder: Path) -> None:
    (folder / "1-002.dcm").write_bytes(b"no image")


def outside(folder: Path) -> None:
    path = folder / "001.xml"
    path.write_text(re.sub(r"(?<=<xCoord>)\d+", lambda x: str(int(x[0]) + 900), path.read_text()))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop, "slices are missing"),
        (twice, "lie at the same place"),
        (truncate, "1-002.dcm: its pixels cannot be decoded"),
        (garbage, "1-002.dcm: not a readable DICOM"),
        (
            lambda folder: edit(folder / "1-003.dcm", SeriesInstanceUID="1.9"),
            "1-003.dcm: belongs to the series",
        ),
        (lambda folder: edit(folder / "1-003.dcm", ImagePositionPatient=None), "has no ImagePositionPatient"),
        (lambda folder: edit(folder / "1-003.dcm", PixelSpacing=[1, 1]), "no slices of one volume"),
        (
            lambda folder: edit(folder / "1-003.dcm", ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
            "is not parallel to",
        ),
        (outside, "outline reaches the pixel x = "),
        (lambda folder: (folder / "001.xml").write_text("<LidcRead"), "001.xml: not readable as XML"),
        (
            lambda folder: (folder / "001.xml").write_text(
                (folder / "001.xml").read_text().replace("6001.9.0.1<", "6001.9.0.7<", 1)
            ),
            "0 annotations are about its series",
        ),
    ],
)
def test_a_damaged_series_fails_alone_and_says_why(copied, damage, message):
    """The item's load raises; the other scans are still read."""
    root = copied("dicom")
    damage(first_series(root))
    first, *others = source("lidc", root).items()
    with pytest.raises(DataError, match=message):
        first.load()
    assert len(others) == SUBJECTS - 1
    assert others[0].load().masks["label"].any()


def test_radiographs_of_lidc_are_left_out_and_scans_without_annotation_have_no_label(copied):
    """Some patients have a DX series in a folder beside; its header says so."""
    root = copied("dicom")
    folder = first_series(root)
    other = folder.parents[1] / "01-01-2000-NA-NA-99999" / "radiograph"
    other.mkdir(parents=True)
    shutil.copy(folder / "1-001.dcm", other / "1-1.dcm")
    edit(other / "1-1.dcm", Modality="DX")
    assert len(list(source("lidc", root).items())) == SUBJECTS
    (folder / "001.xml").unlink()
    first = next(iter(source("lidc", root).items()))
    assert "nodules" not in first.attributes
    assert first.load().masks == {}


def test_agreement_decides_how_many_nodules_there_are(written):
    """A nodule that one reader saw is one only where one reader is enough."""
    truth = read_json(written["dicom"] / "ground_truth.json")["images"]
    readers = [nodule["readers"] for scan in truth.values() for nodule in scan["nodules"]]
    for least in (1, 3, 4):
        items = source("lidc", written["dicom"], items="nodules", agreement={"readers": least}).items()
        assert len(list(items)) == sum(count >= least for count in readers)


# --- LUNA16 -----------------------------------------------------------------------------------------


def test_luna16_tables_with_faults_name_the_line(copied):
    """A missing column, a word for a number, a diameter of 0, a nodule outside its scan."""
    root = copied("luna16")
    table = root / "annotations.csv"
    good = table.read_text()
    table.write_text(good.replace("diameter_mm", "size"))
    with pytest.raises(DataError, match="no column diameter_mm; found seriesuid, coordX"):
        list(source("lidc", root).items())
    header, first, *rest = good.splitlines()
    for field, value, message in (
        (4, "large", "line 2: diameter_mm is 'large', expected a number"),
        (4, "0", "line 2: diameter_mm is 0, expected more than 0"),
    ):
        cells = first.split(",")
        cells[field] = value
        table.write_text("\n".join([header, ",".join(cells), *rest]))
        with pytest.raises(DataError, match=message):
            list(source("lidc", root).items())
    cells = first.split(",")
    cells[1] = "9999"
    table.write_text("\n".join([header, ",".join(cells), *rest]))
    with pytest.raises(DataError, match=r"line 2: the nodule at \(9999, .* lies outside the scan"):
        load_first(root)


def test_luna16_without_its_table_or_with_a_short_raw_file_is_refused(copied):
    """Where the layout is named, the table is missed at once; a raw file of the wrong length fails alone."""
    root = copied("luna16")
    raw = next(root.rglob("*.raw"))
    raw.write_bytes(raw.read_bytes()[:-10])
    items = {item.item_id: item for item in source("lidc", root).items()}
    with pytest.raises(DataError, match="may be damaged or cut off"):
        items[raw.stem].load()
    raw.unlink()
    with pytest.raises(DataError):
        items[raw.stem].load()
    (root / "annotations.csv").unlink()
    with pytest.raises(LayoutError, match=r"annotations\.csv"):
        source("lidc", root, layout="luna16").check_layout()
    with pytest.raises(LayoutError, match="LIDC-IDRI-0001"):
        list(source("lidc", root).items())


@pytest.mark.parametrize(("name", "reader"), [("luna16", "lidc"), ("patches", "node21_ct_nodules")])
def test_what_is_listed_and_absent_is_left_out_or_fails(copied, name, reader):
    """Most people have only some of the ten subsets; whoever wants all is told."""
    root = copied(name)
    pattern = "*.mhd" if name == "luna16" else "*_dcm_0.mha"
    gone = sorted(root.rglob(pattern))[0]
    count = len(list(source(reader, root).items()))
    gone.unlink()
    assert len(list(source(reader, root, partial=True).items())) == count - 1
    items = list(source(reader, root).items())
    assert len(items) == count
    failing = [item for item in items if gone.name.split("_dcm")[0].removesuffix(".mhd") in item.item_id]
    with pytest.raises(DataError, match="lists it, but the file does not exist"):
        failing[0].load()


# --- NODE21's patches -------------------------------------------------------------------------------


def test_patches_hold_their_nodule_in_the_middle(written):
    """50 voxels of 1 mm; the mask has the true volume, and the nodule is denser than lung."""
    truth = read_json(written["patches"] / "ground_truth.json")["images"]
    items = list(source("node21_ct_nodules", written["patches"]).items())
    assert len(items) == len(truth) >= 3
    for item in items:
        raw = item.load()
        known = truth[Path(item.attributes["file"]).name]
        mask = raw.masks["label"] > 0
        assert raw.image.shape == (1, 50, 50, 50)
        assert raw.spacing_mm == (1.0, 1.0, 1.0)
        assert abs(mask.sum() / known["volume_mm3"] - 1) < 0.05
        assert np.linalg.norm(centre_mm(raw, mask) - known["centre_mm"]) < 1.5
        assert raw.image[0][mask].mean() > -600
        assert item.attributes["diameter_mm"] == round(known["diameter_mm"])


def test_faults_of_the_patches_table_and_masks_are_named(copied):
    """A column, a name, a name twice, a mask on another grid or empty."""
    import SimpleITK

    root = copied("patches")
    table = root / "ct_nodules.csv"
    good = table.read_text()
    name = good.splitlines()[1].split(",")[1]
    for text, message in (
        (good.replace("diameter", "size"), "no column diameter"),
        (good.replace("_dcm_0.mha", ".mha", 1), "line 2: img_name .* is no name such as"),
        (good + f"9,{name},8\n", "is listed twice"),
        (good.replace(f"{name},", f"{name},x", 1), "line 2: diameter is 'x"),
    ):
        table.write_text(text)
        with pytest.raises(DataError, match=message):
            list(source("node21_ct_nodules", root).items())
    table.write_text(good)
    mask = root / "nodule_patches" / name.replace("_dcm_", "_seg_")
    image = SimpleITK.ReadImage(str(mask))
    SimpleITK.WriteImage(image * 0, str(mask))
    with pytest.raises(DataError, match="marks no voxel"):
        next(iter(source("node21_ct_nodules", root).items())).load()
    SimpleITK.WriteImage(image[:40], str(mask))
    with pytest.raises(DataError, match="resample them to one grid"):
        next(iter(source("node21_ct_nodules", root).items())).load()
    table.unlink()
    with pytest.raises(LayoutError, match=r"ct_nodules.csv is missing"):
        source("node21_ct_nodules", root).check_layout()


def test_real_patches_of_the_baseline_are_all_read(shared_data):
    """37 nodules of 20 scans; the table lists 1,186, most of whose files are not in the sample."""
    opened = source("node21_ct_nodules", shared_data / "LUNA16-NODE21-patches", partial=True)
    opened.check_layout()
    items = list(opened.items())
    assert len(items) == 37
    assert len({item.subject_id for item in items}) == 20
    density = []
    for item in items:
        raw = item.load()
        mask = raw.masks["label"] > 0
        assert raw.image.shape == (1, 50, 50, 50)
        assert raw.image.min() >= -3024  # what lies outside the scanner's circle
        density.append(raw.image[0][mask].mean())
        assert mask[20:30, 20:30, 20:30].any()
    assert min(density) > -900  # some masks are coarse
    assert np.median(density) > -400
    everything = source("node21_ct_nodules", shared_data / "LUNA16-NODE21-patches")
    assert len(list(everything.items())) == 1186


def test_a_patient_is_known_by_its_series_to_forms_that_do_not_name_patients(written):
    """DICOM says both; LUNA16 and the patches without a table of patients have the series alone."""
    dicom = {name for item in source("lidc", written["dicom"]).items() for name in item.also_known_as}
    for form, reader in (("luna16", "lidc"), ("patches", "node21_ct_nodules")):
        opened = source(reader, written[form])
        own = {f"{opened.namespace}/{item.subject_id}" for item in opened.items()}
        assert own <= dicom
