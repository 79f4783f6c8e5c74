"""BraTS of every year and the Decathlon's Task01: names, label codes, patients, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import nibabel
import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError
from volumes import AFFINE, SEQUENCES, as_file, head, save, write_brats

from conftest import TCGA
from mirage.config.datasets import BratsSource, DatasetConfig, SimulateOptions, SourceOptions
from mirage.data.tumour_labels import LABELS, REGIONS, SCHEMES, labels_of, map_labels
from mirage.errors import DataError, LayoutError
from mirage.prepare import prepare_shard
from mirage.sources import Source, open_source


def source(path: Path, reader: str = "brats", **options) -> Source:
    """Open a source from plain options."""
    return open_source(
        TypeAdapter(SourceOptions).validate_python({"reader": reader, "path": str(path), **options})
    )


# --- label codes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("brats2015", {1: "NCR", 2: "ED", 3: "NCR", 4: "ET"}),
        ("brats2018", {1: "NCR", 2: "ED", 4: "ET"}),
        ("brats2023", {1: "NCR", 2: "ED", 3: "ET"}),
        ("brats2024", {1: "NCR", 2: "ED", 3: "ET", 4: "RC"}),
        ("msd", {1: "ED", 2: "NCR", 3: "ET"}),
    ],
)
def test_codes_of_every_scheme_get_the_name_they_had_in_their_year(scheme, expected):
    """Code 4 is enhancing tumour, or a resection cavity, or nothing; 1 is necrosis, or oedema."""
    codes = np.array([0, *expected], np.int16)
    names = [labels_of(scheme).get(int(code)) for code in map_labels(codes, scheme)]
    assert names == [None, *expected.values()]
    assert set(SCHEMES[scheme]) == set(expected)
    unknown = sorted({1, 2, 3, 4, 7} - set(expected))
    for code in unknown:
        with pytest.raises(DataError, match=rf"\[{code}\] are unknown to the scheme {scheme}"):
            map_labels(np.array([0, code], np.uint8), scheme)


def test_regions_are_bound_to_label_names_and_nest():
    """ET is in TC, TC in WT; the cavity of 2024 is in none."""
    assert LABELS == {1: "NCR", 2: "ED", 3: "ET"}
    sets = {region: set(names) for region, names in REGIONS.items()}
    assert sets == {"WT": {"NCR", "ED", "ET"}, "TC": {"NCR", "ET"}, "ET": {"ET"}}


def test_an_unknown_code_names_the_schemes_that_would_fit():
    """Files of 2024 read as 2023 are told from files with a stray value."""
    with pytest.raises(DataError, match=r"brats2015 \(1 NCR, 2 ED, 3 NCR, 4 ET\) or brats2024 \(1 NCR"):
        map_labels(np.array([0, 1, 2, 3, 4]), "brats2023")
    with pytest.raises(DataError, match="no scheme has all of them"):
        map_labels(np.array([0, 1, 9]), "brats2018")


def test_codes_stored_as_floats_are_taken_when_they_are_whole():
    """DeepMedic's copies hold 0.99999997; a label map that was interpolated is refused."""
    floats = np.array([0.0, 0.9999997, 2.0000002, 4.0], np.float64)
    np.testing.assert_array_equal(map_labels(floats, "brats2018"), [0, 1, 2, 3])
    assert map_labels(floats.astype(np.float32), "brats2018").dtype == np.uint8
    for wrong in ([0, 0.5], [-1.0, 1.0], [0, 300], [np.nan, 1]):
        with pytest.raises(DataError, match="whole numbers"):
            map_labels(np.array(wrong), "brats2018")


def test_configuration_and_table_have_the_same_schemes():
    """What can be written under `codes` is what can be mapped."""
    assert set(get_args(BratsSource.model_fields["codes"].annotation)) == {"auto", *SCHEMES}


# --- layouts ----------------------------------------------------------------------------------------


def write_2018(root: Path) -> None:
    """2018 to 2021, in the folders HGG and LGG."""
    write_brats(root / "HGG", "Brats18_TCIA01_201_1")


def write_2020(root: Path) -> None:
    """The same names, not compressed, below the folder that the archive makes."""
    folder = write_brats(root / "MICCAI_BraTS2020_TrainingData", "BraTS20_Training_001")
    for path in list(folder.iterdir()):
        nibabel.save(nibabel.load(path), path.with_name(path.name.removesuffix(".gz")))
        path.unlink()


def write_2023(root: Path) -> None:
    """2023 and later."""
    images, label, _ = head()
    name = "BraTS-GLI-00003-001"
    volumes = dict(zip(("t2f", "t1n", "t1c", "t2w"), images, strict=True))
    for key, volume in {**volumes, "seg": label}.items():
        save(volume, root / name / f"{name}-{key}.nii.gz")


def write_vsd(root: Path) -> None:
    """2012 to 2016: a folder a file, MetaImage."""
    import SimpleITK

    images, label, _ = head()
    codes = np.array([0, 1, 2, 4], np.int16)[label]
    codes[label == 1] = 3  # not enhancing, in the core
    volumes = dict(zip(("MR_Flair", "MR_T1", "MR_T1c", "MR_T2"), images, strict=True))
    for at, (word, volume) in enumerate({**volumes, "OT": codes}.items()):
        name = f"VSD.Brain.XX.O.{word}.{40800 + at}"
        (root / "HGG" / "brats_tcia_pat105_0001" / name).mkdir(parents=True)
        image = SimpleITK.GetImageFromArray(volume)
        image.SetSpacing([1.5, 1.5, 1.5])
        image.SetOrigin([-14.0, -20.0, -9.0])
        path = root / "HGG" / "brats_tcia_pat105_0001" / name / f"{name}.mha"
        SimpleITK.WriteImage(image, str(path), useCompression=True)


def write_deepmedic(root: Path) -> None:
    """DeepMedic's copy of 2015: float labels, a brain mask, a licence beside them."""
    images, label, brain = head()
    codes = np.array([0, 1, 2, 4], np.float32)[label]
    words = ("Flair", "T1", "T1c", "T2")
    volumes = {f"{w}_subtrMeanDivStd": image for w, image in zip(words, images, strict=True)}
    volumes |= {"OTMultiClass": codes, "brainmask": brain * np.float32(0.9999999)}
    for key, volume in volumes.items():
        save(volume, root / "brats_2013_pat0002_1" / f"{key}.nii.gz")
    (root / "brats_2013_pat0002_1" / "License.txt").write_text("CC")


def write_other(root: Path) -> None:
    """Names of somebody's own."""
    images, label, _ = head()
    for name, volume in zip(SEQUENCES, images, strict=True):
        save(volume, root / "patient7" / "visit1" / "raw" / f"x_{name}_bet.nii.gz")
    save(label, root / "patient7" / "visit1" / "fusion" / "mav.nii.gz")


OTHER = {
    "files": {**{name: f"raw/*_{name}_bet.nii.gz" for name in SEQUENCES}, "label": "fusion/mav.nii.gz"},
    "folders": "*/*",
    "subject": r"^([^/]+)/",
    "codes": "brats2023",
}


@pytest.mark.parametrize(
    ("write", "options", "item", "subject"),
    [
        (write_2018, {}, "Brats18_TCIA01_201_1", "Brats18_TCIA01_201"),
        (write_2020, {}, "BraTS20_Training_001", "BraTS20_Training_001"),
        (write_2023, {}, "BraTS-GLI-00003-001", "BraTS-GLI-00003"),
        (write_vsd, {}, "brats_tcia_pat105_0001", "brats_tcia_pat105"),
        (write_deepmedic, {}, "brats_2013_pat0002_1", "brats_2013_pat0002"),
        (write_other, OTHER, "visit1", "patient7"),
    ],
)
def test_every_layout_gives_the_same_volume(tmp_path, write, options, item, subject):
    """Names, suffixes, containers and codes differ; sequences, labels, patient and place in space do not."""
    write(tmp_path)
    opened = source(tmp_path, **options)
    opened.check_layout()
    (found,) = opened.items()
    assert (found.item_id, found.subject_id) == (item, subject)
    raw = found.load()
    images, label, brain = head()
    np.testing.assert_array_equal(raw.image, images)
    np.testing.assert_array_equal(raw.masks["label"], label)
    np.testing.assert_allclose(raw.affine, AFFINE)
    assert opened.channel_names == list(SEQUENCES)
    assert opened.labels == LABELS
    assert ("brain" in raw.masks) == (write is write_deepmedic)
    if write is write_deepmedic:
        np.testing.assert_array_equal(raw.masks["brain"], brain)


@pytest.mark.parametrize("layout", ["brats2018", "brats2023", "brats2015", "deepmedic"])
def test_a_layout_that_is_named_is_not_guessed(tmp_path, layout):
    """Another one's files are missing ones."""
    write_2020(tmp_path)
    (item,) = source(tmp_path, layout=layout).items()
    if layout == "brats2018":
        assert item.load().image.shape[0] == 4
    else:
        with pytest.raises(DataError, match=r"has no flair, expected .*found no sequence"):
            item.load()


def test_sequences_are_chosen_and_ordered(tmp_path):
    """What is stored, and nothing else, has to be there."""
    write_brats(tmp_path, "BraTS20_Training_001", flair=None)
    opened = source(tmp_path, sequences=["t2", "t1ce"])
    (item,) = opened.items()
    np.testing.assert_array_equal(item.load().image, head()[0][[3, 2]])
    assert opened.channel_names == ["t2", "t1ce"]


def test_time_points_of_a_patient_are_one_subject(tmp_path):
    """2023 and later number them; 2020 and 2021 have one examination a patient."""
    for name in ("BraTS-GLI-00000-000", "BraTS-GLI-00000-001", "BraTS-GLI-00001-000"):
        (tmp_path / "new" / name).mkdir(parents=True)
    save(head()[0][0], tmp_path / "new" / "BraTS-GLI-00000-000" / "BraTS-GLI-00000-000-t2f.nii.gz")
    subjects = [item.subject_id for item in source(tmp_path / "new").items()]
    assert subjects == ["BraTS-GLI-00000", "BraTS-GLI-00000", "BraTS-GLI-00001"]
    for name in ("BraTS2021_00000", "BraTS2021_00002"):
        write_brats(tmp_path / "old", name)
    assert [item.subject_id for item in source(tmp_path / "old").items()] == [
        "BraTS2021_00000",
        "BraTS2021_00002",
    ]


def test_the_wrongly_named_label_of_2020_is_found(tmp_path):
    """BraTS20_Training_355 holds W39_1998.09.19_Segm.nii."""
    folder = write_brats(tmp_path, "BraTS20_Training_355")
    label = folder / "BraTS20_Training_355_seg.nii.gz"
    nibabel.save(nibabel.load(label), folder / "W39_1998.09.19_Segm.nii")
    (item,) = source(tmp_path).items()
    with pytest.raises(DataError, match="several files for label"):
        item.load()
    label.unlink()
    np.testing.assert_array_equal(item.load().masks["label"], head()[1])


def test_grade_and_age_come_from_folders_and_tables(tmp_path):
    """HGG and LGG in 2018, two tables in 2020; unknown ages are none."""
    write_brats(tmp_path / "LGG", "Brats18_2013_0_1")
    root = tmp_path / "MICCAI"
    for number in (1, 2):
        write_brats(root, f"BraTS20_Training_{number:03d}")
    (root / "name_mapping.csv").write_text(
        "Grade,BraTS_2017_subject_ID,BraTS_2020_subject_ID\n"
        "HGG,Brats17_CBICA_AAB_1,BraTS20_Training_001\nLGG,NA,BraTS20_Training_002\n"
    )
    (root / "survival_info.csv").write_text(
        "Brats20ID,Age,Survival_days\nBraTS20_Training_001,60.463,289\nBraTS20_Training_002,NA,1\n"
    )
    known = {item.item_id: item.attributes for item in source(tmp_path).items()}
    assert known["Brats18_2013_0_1"]["grade"] == "LGG"
    assert known["BraTS20_Training_001"] | {"file": ""} == {"grade": "HGG", "age": 60.463, "file": ""}
    assert known["BraTS20_Training_002"] | {"file": ""} == {"grade": "LGG", "age": None, "file": ""}


def test_folders_without_volumes_are_ignored_but_empty_examinations_are_not(tmp_path):
    """Documents are no examinations; a folder that should hold one and holds nothing fails."""
    write_brats(tmp_path, "BraTS20_Training_001")
    (tmp_path / "BraTS20_Training_002").mkdir()
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "readme.txt").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path)
    first, second = source(tmp_path).items()
    assert first.load().image.shape[0] == 4
    with pytest.raises(DataError, match="found no sequence"):
        second.load()


def test_a_tree_that_is_none_is_refused_as_a_whole(tmp_path):
    """Nothing there; or volumes, but under names of no BraTS."""
    with pytest.raises(LayoutError, match="missing"):
        source(tmp_path / "absent").check_layout()
    with pytest.raises(LayoutError, match="holds no examination"):
        list(source(tmp_path).items())
    save(head()[0][0], tmp_path / "patient" / "scan.nii.gz")
    with pytest.raises(LayoutError, match=r"patient, holds scan\.nii\.gz\. Name its `files`"):
        list(source(tmp_path).items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sequences": ["flair", "flair"]}, "listed twice"),
        ({"sequences": ["adc"]}, "none of flair, t1, t1ce, t2"),
        ({"files": {"flair": "*.nii"}}, "no glob for t1, t1ce, t2"),
        ({"files": {"flair": "*.nii", "label": "s.nii"}, "sequences": ["flair"]}, "what its values mean"),
        ({"files": {"flair": "../x.nii"}, "sequences": ["flair"]}, "inside `path`"),
        ({"files": {"flair": "x"}, "sequences": ["flair"], "layout": "brats2018"}, "one of the two"),
        ({"folders": "*/*"}, "only with `files`"),
        ({"subject": "x"}, "group"),
    ],
)
def test_options_that_cannot_work_are_refused_at_parse_time(tmp_path, options, message):
    """Before any file is read."""
    with pytest.raises(ValidationError, match=message):
        source(tmp_path, **options)


# --- what one bad examination does ------------------------------------------------------------------


def prepare(folder: Path, raw: Path, **options) -> pd.DataFrame:
    """Manifest rows of a tree prepared as one shard."""
    prepared = {"kind": "volume", "size": [20, 24, 22], **options}
    config = DatasetConfig.model_validate(
        {"source": {"reader": "brats", "path": str(raw)}, "prepare": prepared}
    )
    prepare_shard(config, open_source(config.source), 0, folder)
    return pd.read_parquet(folder / "shard-0000-of-0001.parquet").set_index("item_id")


def break_missing(folder: Path) -> None:
    """No T2."""
    (folder / f"{folder.name}_t2.nii.gz").unlink()


def break_shape(folder: Path) -> None:
    """One sequence is a slice short."""
    save(head()[0][1][1:], folder / f"{folder.name}_t1.nii.gz")


def break_place(folder: Path) -> None:
    """One sequence lies 3 mm off."""
    moved = AFFINE.copy()
    moved[0, 3] += 3
    save(head()[0][1], folder / f"{folder.name}_t1.nii.gz", affine=moved)


def break_label_place(folder: Path) -> None:
    """The labels are mirrored."""
    save(head()[1], folder / f"{folder.name}_seg.nii.gz", "RPS")


def break_voxels(folder: Path) -> None:
    """A NaN."""
    values = head()[0][1].astype(np.float32)
    values[3, 4, 5] = np.nan
    save(values, folder / f"{folder.name}_t1.nii.gz")


def break_affine(folder: Path) -> None:
    """Two axes in the same direction."""
    image = as_file(head()[0][0])
    image.header["srow_y"] = image.header["srow_x"]
    nibabel.Nifti1Image.to_filename(
        nibabel.Nifti1Image(image.dataobj, None, image.header), folder / f"{folder.name}_flair.nii.gz"
    )


def break_codes(folder: Path) -> None:
    """2023's codes in a tree of 2018."""
    save(head()[1], folder / f"{folder.name}_seg.nii.gz")


def break_fractions(folder: Path) -> None:
    """Labels resampled as if they were grey values."""
    save(head()[1] * np.float32(0.7), folder / f"{folder.name}_seg.nii.gz")


def break_end(folder: Path) -> None:
    """A download that stopped."""
    path = folder / f"{folder.name}_t1ce.nii.gz"
    path.write_bytes(path.read_bytes()[:2000])


def break_dimension(folder: Path) -> None:
    """A slice."""
    save(head()[0][0][:1], folder / f"{folder.name}_flair.nii.gz")


def break_contents(folder: Path) -> None:
    """Zeros."""
    for name in SEQUENCES:
        save(np.zeros((20, 24, 22), np.int16), folder / f"{folder.name}_{name}.nii.gz")
    save(np.zeros((20, 24, 22), np.uint8), folder / f"{folder.name}_seg.nii.gz")


BROKEN = [
    (break_missing, ["has no t2", "_t2.nii.gz", "found flair, t1, t1ce, label"]),
    (break_shape, ["_t1.nii.gz", "22 x 24 x 19", "22 x 24 x 20"]),
    (break_place, ["_t1.nii.gz", "3 mm", "_flair.nii.gz"]),
    (break_label_place, ["_seg.nii.gz", "mm from where"]),
    (break_voxels, ["_t1.nii.gz", "NaN"]),
    (break_affine, ["_flair.nii.gz", "cannot be inverted"]),
    (break_codes, ["_seg.nii.gz", "[3] are unknown", "source.codes"]),
    (break_fractions, ["_seg.nii.gz", "whole numbers"]),
    (break_end, ["_t1ce.nii.gz", "cut off"]),
    (break_dimension, ["_flair.nii.gz", "is no volume"]),
    (break_contents, ["nothing but background"]),
]


def test_every_kind_of_bad_examination_fails_alone_with_its_reason(tmp_path):
    """A missing sequence, other shapes or places, NaN, a bad affine, mixed codes, a cut-off file."""
    raw = tmp_path / "raw"
    write_brats(raw, "BraTS20_Training_900")
    for at, (spoil, _) in enumerate(BROKEN):
        spoil(write_brats(raw, f"BraTS20_Training_{at:03d}", seed=at + 1))
    write_brats(raw, "BraTS20_Training_901", seed=99)
    rows = prepare(tmp_path / "out", raw)
    assert list(rows.index[rows["status"] == "ok"]) == ["BraTS20_Training_900", "BraTS20_Training_901"]
    for at, (spoil, parts) in enumerate(BROKEN):
        reason = rows.loc[f"BraTS20_Training_{at:03d}", "reason"]
        for part in parts:
            assert part in reason, (spoil.__name__, reason)


def test_an_empty_tumour_is_recorded_and_refused_only_on_request(tmp_path):
    """So is a label file that is not there."""
    write_brats(tmp_path / "raw", "BraTS20_Training_001")
    write_brats(tmp_path / "raw", "BraTS20_Training_002", seed=1, seg=np.zeros((20, 24, 22), np.uint8))
    write_brats(tmp_path / "raw", "BraTS20_Training_003", seed=2, seg=None)
    rows = prepare(tmp_path / "any", tmp_path / "raw")
    assert (rows["status"] == "ok").all()
    volumes = rows[[f"volume_{name}_mm3" for name in LABELS.values()]]
    counts = [(head()[1] == value).sum() * 1.5**3 for value in LABELS]
    assert list(volumes.iloc[0]) == pytest.approx(counts)
    assert list(volumes.iloc[1]) == [0, 0, 0]
    assert volumes.iloc[2].isna().all()
    assert list(rows["mask_origin"].isna()) == [False, False, True]
    rows = prepare(tmp_path / "strict", tmp_path / "raw", require_mask=True)
    assert list(rows["status"]) == ["ok", "failed", "failed"]
    assert "empty" in rows["reason"].iloc[1]
    assert "no label mask" in rows["reason"].iloc[2]


# --- Decathlon --------------------------------------------------------------------------------------


def write_msd(root: Path, name: str = "BRATS_001") -> None:
    """One examination: four sequences in one file, labels with codes of their own."""
    images, label, _ = head()
    codes = np.array([0, 2, 1, 3], np.uint8)[label]
    (root / "imagesTr").mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(np.moveaxis(images, 0, -1).transpose(2, 1, 0, 3), AFFINE)
    nibabel.save(image, root / "imagesTr" / f"{name}.nii.gz")
    save(codes, root / "labelsTr" / f"{name}.nii.gz")


def test_decathlon_sequences_and_codes_are_those_of_brats(tmp_path):
    """FLAIR, T1w, T1gd, T2w in this order; 1 is oedema."""
    write_msd(tmp_path)
    (tmp_path / "imagesTr" / "._BRATS_001.nii.gz").write_bytes(b"left by macOS")
    opened = source(tmp_path, "msd_brain", sequences=["t1ce", "flair"])
    (item,) = opened.items()
    raw = item.load()
    images, label, _ = head()
    np.testing.assert_array_equal(raw.image, images[[2, 0]])
    np.testing.assert_array_equal(raw.masks["label"], label)
    assert (item.item_id, opened.labels) == ("BRATS_001", LABELS)


def test_decathlon_files_that_do_not_fit_are_refused(tmp_path):
    """Three sequences instead of four; a label file that is not there; codes of another data set."""
    write_msd(tmp_path)
    (item,) = source(tmp_path, "msd_brain").items()
    save(np.full((20, 24, 22), 4, np.uint8), tmp_path / "labelsTr" / "BRATS_001.nii.gz")
    with pytest.raises(DataError, match=r"labelsTr.BRATS_001.*\[4\] are unknown to the scheme msd"):
        item.load()
    (tmp_path / "labelsTr" / "BRATS_001.nii.gz").unlink()
    with pytest.raises(DataError, match="does not exist"):
        item.load()
    save(head()[0][0], tmp_path / "imagesTr" / "BRATS_001.nii.gz")
    with pytest.raises(DataError, match="has 1 channels, expected 4"):
        item.load()


def test_simulated_data_are_read_whatever_the_options_say_of_the_real_ones(tmp_path):
    """A study's own files and codes are no obstacle to trying it on phantoms."""
    write_2020(tmp_path)
    options = TypeAdapter(SourceOptions).validate_python({"reader": "brats", **OTHER})
    opened = open_source(options, tmp_path)
    (item,) = opened.items()
    np.testing.assert_array_equal(item.load().masks["label"], head()[1])
    assert opened.namespace != open_source(options).namespace


def test_simulated_brats_and_decathlon_are_the_same_heads(tmp_path):
    """Two layouts with other axes, codes and types give the same stored voxels, bit for bit."""
    pytest.importorskip("nilearn")
    from mirage.data.shards import ShardReader
    from mirage.simulate import simulate

    found = {}
    for reader in ("brats", "msd_brain"):
        simulate(SimulateOptions(subjects=1, size=32), reader, tmp_path / reader)
        for preset, own in (("thesis", {"drop_slices": [4, 3]}), ("recommended", {})):
            config = DatasetConfig.model_validate(
                {
                    "source": {"reader": reader},
                    "simulate": {"subjects": 1, "size": 32},
                    "prepare": {"kind": "volume", "preset": preset, "size": [24, 32, 28], **own},
                }
            )
            out = tmp_path / f"{reader}-{preset}"
            prepare_shard(config, open_source(config.source, tmp_path / reader), 0, out)
            shard = ShardReader(out / "shard-0000-of-0001.arrow")
            found[reader, preset] = (shard.tensor(0, "image"), shard.tensor(0, "mask"))
    for preset in ("thesis", "recommended"):
        for first, second in zip(found["brats", preset], found["msd_brain", preset], strict=True):
            np.testing.assert_array_equal(first, second)
        assert set(np.unique(found["brats", preset][1][0])) == {0, 1, 2, 3}


# --- real data --------------------------------------------------------------------------------------


def test_real_brats_2015_codes_are_mapped_as_its_files_count_them(shared_data):
    """Voxels of each code, counted in the files by other means; the given masks are the brains."""
    expected = {
        "brats_2013_pat0002_1": (163 + 943, 53736, 8219, 1585473),
        "brats_2013_pat0005_1": (23030 + 3882, 35416, 18354, 1523743),
        "brats_2013_pat0006_1": (41838 + 22228, 109935, 43379, 1084095),
    }
    items = list(source(shared_data / "BRATS2015-deepmedic", sequences=["flair", "t1ce"]).items())
    assert [item.item_id for item in items] == list(expected)
    for item in items:
        masks = item.load().masks
        counts = [int((masks["label"] == value).sum()) for value in LABELS]
        assert (*counts, int(masks["brain"].sum())) == expected[item.item_id]


def test_real_volumes_in_brats_space_are_read_by_their_own_names(shared_data):
    """One patient without enhancing tumour, one with; four sequences each."""
    items = list(source(shared_data / "TCGA-LGG-brats-space", **TCGA).items())
    assert [item.subject_id for item in items] == ["TCGA-DU-7294", "TCGA-FG-6692"]
    counts = []
    for item in items:
        raw = item.load()
        assert raw.image.shape == (4, 155, 240, 240)
        counts.append([int((raw.masks["label"] == value).sum()) for value in LABELS])
    assert counts == [[9281, 14907, 0], [2477, 20862, 6840]]
