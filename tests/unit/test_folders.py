"""What `mirage evaluate` finds in folders, refuses, remarks and writes down, before any job runs."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image
from typer.testing import CliRunner

from mirage.cli import app
from mirage.config import load_config
from mirage.errors import DataError, LayoutError, LeakError, MirageError
from mirage.folders.look import look
from mirage.folders.project import check_free, started, write_project
from mirage.folders.study import Request, Study, make_study


def noise(seed: int, *shape: int, dtype: type = np.uint8) -> np.ndarray:
    """Values over the whole range of a type; 0 to 1 of a float type."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def fill(folder: Path, seed: int, count: int = 9, **keys: Any) -> Path:
    """Images `00.png` ... of 32 x 40 pixels, or as the keys of ``noise`` and ``shape`` say."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        values = noise(seed * 100 + number, *keys.get("shape", (32, 40)), dtype=keys.get("dtype", np.uint8))
        save(folder / f"{number:02d}{keys.get('suffix', '.png')}", values)
    return folder


def save(path: Path, values: np.ndarray) -> None:
    """Write an image of the kind that the name says."""
    if path.name.endswith(".nii.gz"):
        nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 1.0, 2.0, 1.0])), path)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, values)
    else:
        Image.fromarray(values).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    """Three folders of nine grey images each, as the arguments of a request."""
    named = {"real_train": "train", "real_holdout": "holdout", "synthetic": "made"}
    return {key: str(fill(tmp_path / name, seed)) for seed, (key, name) in enumerate(named.items())}


def study_of(folders: dict[str, str], **keys: Any) -> Study:
    """The study of folders; it is a valid configuration."""
    study = make_study(Request(**{**folders, **keys}))
    load_config({**study.config, "run": ["judged"]}, Path("nowhere"))
    return study


def test_three_folders_become_three_datasets_prepared_alike(folders: dict[str, str]) -> None:
    """Real ones are all training or all test, made ones name their origin."""
    study = study_of(folders)
    datasets = study.config["datasets"]
    assert list(datasets) == ["training", "heldout", "synthetic"]
    assert {str(entry["prepare"]) for entry in datasets.values()} == {"{'size': 32, 'fov': 'none'}"}
    assert {entry["source"]["channels"] for entry in datasets.values()} == {"grey"}
    assert datasets["training"]["split"] == {"by": "random", "val": 0, "test": 0}
    assert datasets["heldout"]["split"] == {"by": "random", "val": 0, "test": 1}
    assert datasets["synthetic"]["made_from"] == "training"
    assert set(study.config["evaluations"]) == {"fidelity", "privacy"}
    assert study.config["evaluations"]["privacy"]["heldout"] == "heldout"
    assert len(study.remarks) == 1
    assert "subject of its own" in study.remarks[0]


def test_without_a_holdout_subjects_are_set_aside_and_privacy_is_not_judged(folders: dict[str, str]) -> None:
    """The generator may have seen them, and that is said."""
    study = study_of(folders, real_holdout=None)
    assert study.config["datasets"]["training"]["split"]["test"] == pytest.approx(0.3)
    assert set(study.config["evaluations"]) == {"fidelity"}
    assert "novelty and privacy were not tested" in study.remarks[0]
    assert study.config["studies"]["judged"]["notes"] == study.remarks


def test_subjects_are_one_namespace_of_both_real_folders(folders: dict[str, str]) -> None:
    """What a person calls a patient is one in both; one who has images in both is refused at once."""
    held = Path(folders["real_holdout"])
    for file in held.iterdir():
        file.rename(held / f"9{file.name}")
    with pytest.raises(LeakError, match=r"9 of 9 subjects are in .*train too: 00, 01.* and 1 more"):
        study_of(folders, subjects=r"(\d\d)\.png")
    datasets = study_of(folders, subjects=r"(\d+)\.png").config["datasets"]
    spaces = [datasets[name]["source"].get("namespace") for name in datasets]
    assert spaces == ["judged", "judged", None]


@pytest.mark.parametrize(
    ("keys", "prepare"),
    [
        ({"shape": (130, 100)}, {"size": 64}),
        ({"shape": (300, 600)}, {"size": 256}),
        ({"dtype": np.uint16}, {"bits": 16}),
        (
            {"dtype": np.float32, "suffix": ".tif"},
            {"bits": 16, "intensity": {"kind": "window", "low": 0.0, "high": 1.0}},
        ),
        (
            {"shape": (20, 33, 12), "dtype": np.int16, "suffix": ".nii.gz"},
            {"kind": "volume", "size": [8, 32, 16], "fit": "stretch", "brain": "none", "outside": "keep"},
        ),
    ],
    ids=["portrait", "large", "deep", "float", "volumes"],
)
def test_images_of_all_kinds_are_brought_to_one_size_and_scale(
    tmp_path: Path, keys: dict[str, Any], prepare: dict[str, Any]
) -> None:
    """The largest power of two in the smallest image; the range of the type, else of the training images."""
    made = {
        key: str(fill(tmp_path / key, seed, **keys)) for seed, key in enumerate(("real_train", "synthetic"))
    }
    found = study_of(made).config["datasets"]["training"]["prepare"]
    assert {key: found[key] for key in prepare} == prepare


def test_mixed_depths_colours_and_sizes_are_one_dataset(folders: dict[str, str]) -> None:
    """RGB makes all colour, 16 bit is its range's share, the smallest image sets the size."""
    place = Path(folders["synthetic"])
    save(place / "colour.png", noise(1, 24, 24, 3))
    save(place / "alpha.png", np.dstack([noise(2, 50, 50, 3), noise(3, 50, 50)]))
    save(place / "deep.png", noise(4, 40, 40, dtype=np.uint16))
    study = study_of(folders)
    assert {entry["source"]["channels"] for entry in study.config["datasets"].values()} == {"rgb"}
    assert study.config["datasets"]["synthetic"]["prepare"]["size"] == 16
    assert any("proportions" in remark for remark in study.remarks)


def test_other_files_are_left_out_and_bad_ones_are_remarked(folders: dict[str, str]) -> None:
    """Notes, tables and files without a suffix are no images; one damaged image of many is a failed row."""
    place = Path(folders["real_train"])
    fill(place / "more", 7, count=30)
    for name in ("notes.txt", "table.csv", "README"):
        (place / name).write_text("no image")
    (place / "damaged.png").write_bytes((place / "00.png").read_bytes()[:60])
    study = study_of(folders)
    assert study.config["datasets"]["training"]["source"]["exclude"] == ["*.csv", "*.txt", "README"]
    assert any("1 *.csv, 1 *.txt, 1 README" in remark for remark in study.remarks)
    assert any("1 of 40 opened images cannot be used" in remark for remark in study.remarks)


def test_a_look_at_some_of_the_files_says_so(tmp_path: Path) -> None:
    """Of many volumes a few are opened, and the user reads how many of how many."""
    folders = {
        key: str(fill(tmp_path / key, seed, count, shape=(8, 8, 8), suffix=".nii.gz"))
        for seed, (key, count) in enumerate({"real_train": 9, "real_holdout": 8, "synthetic": 8}.items())
    }
    said = [remark for remark in study_of(folders).remarks if "were opened" in remark]
    assert len(said) == 1
    assert "real_train: 8 of 9 files were opened" in said[0]


def test_names_of_other_systems_and_languages_are_kept(tmp_path: Path) -> None:
    """Spaces, umlauts, brackets and backslashes in folders and files."""
    made = {}
    for seed, key in enumerate(("real_train", "real_holdout", "synthetic")):
        folder = fill(tmp_path / f"Bilder für [{key}]", seed)
        save(folder / "C:\\scans\\käse 1.png", noise(9 + seed, 32, 40))
        made[key] = str(folder)
    path = study_of(made).config["datasets"]["heldout"]["source"]["path"]
    assert path == str((tmp_path / "Bilder für [real_holdout]").resolve())


def nothing(folders: dict[str, str]) -> dict[str, Any]:
    Path(folders["synthetic"]).rename(folders["synthetic"] + "2")
    return {}


def empty(folders: dict[str, str]) -> dict[str, Any]:
    for path in Path(folders["synthetic"]).iterdir():
        path.unlink()
    return {}


def one(folders: dict[str, str]) -> dict[str, Any]:
    for path in sorted(Path(folders["synthetic"]).iterdir())[1:]:
        path.unlink()
    return {}


def words_only(folders: dict[str, str]) -> dict[str, Any]:
    empty(folders)
    (Path(folders["synthetic"]) / "a.docx").write_text("a")
    return {}


def identical(folders: dict[str, str]) -> dict[str, Any]:
    for path in Path(folders["real_holdout"]).iterdir():
        save(path, noise(0, 32, 32))
    return {}


def nan(folders: dict[str, str]) -> dict[str, Any]:
    empty(folders)
    fill(Path(folders["synthetic"]), 1, dtype=np.float32, suffix=".tif")
    save(Path(folders["synthetic"]) / "00.tif", np.full((32, 32), np.nan, np.float32))
    return {}


def volumes(folders: dict[str, str]) -> dict[str, Any]:
    empty(folders)
    fill(Path(folders["synthetic"]), 1, shape=(16, 16, 16), suffix=".nii.gz")
    return {}


def mixture(folders: dict[str, str]) -> dict[str, Any]:
    save(Path(folders["synthetic"]) / "a.tif", noise(0, 32, 32, dtype=np.float32))
    return {}


def floats(folders: dict[str, str]) -> dict[str, Any]:
    empty(folders)
    fill(Path(folders["synthetic"]), 1, dtype=np.float32, suffix=".tif")
    return {}


def braces(folders: dict[str, str]) -> dict[str, Any]:
    renamed = Path(folders["synthetic"]).with_name("made {1}")
    return {"synthetic": str(Path(folders["synthetic"]).rename(renamed))}


def tiny(folders: dict[str, str]) -> dict[str, Any]:
    save(Path(folders["synthetic"]) / "tiny.png", noise(0, 5, 5))
    return {}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (nothing, "made is missing"),
        (empty, "made: no image in it; expected PNG"),
        (words_only, r"made: no image in it, only 1 \*.docx; expected PNG"),
        (one, "made: 1 images; at least 8 are needed"),
        (identical, "holdout: all 9 images that were opened are one and the same"),
        (nan, "made: 1 of 9 opened images cannot be used; .*00.tif: the image holds NaN or infinite values"),
        (volumes, "made holds volumes, .*train 2D images"),
        (mixture, "made: mixes integers and signed or float values, such as a.tif and 00.png"),
        (floats, r"made holds signed or float values \(.* to .*\), .*train unsigned integers"),
        (braces, r"made \{1\}' holds a brace, .* rename the folder"),
        (tiny, "the smallest image is 5 x 5; .*Give --size"),
        (lambda f: {"real_holdout": f["real_train"]}, "--real-train and --real-holdout are one folder"),
        (lambda f: {"synthetic": f["real_holdout"]}, "--real-?[a-z]* and --synthetic are one folder"),
        (
            lambda f: {"synthetic": f["real_train"], "real_holdout": None},
            "--real-train and --synthetic are one folder",
        ),
        (
            lambda f: {"synthetic": str(Path(f["real_train"]).parent)},
            "--real-train .* lies inside --synthetic",
        ),
        (lambda f: {"masks": ["a", "b"]}, "found 2, expected a pattern"),
        (lambda f: {"masks": ["masks/{stem}.png"]}, "no mask of 00.png; by the pattern"),
        (lambda f: {"masks": [*[*f.values()][:2], "none"]}, "none: is no folder of masks"),
        (lambda f: {"masks": ["{stm}.png"]}, r"holds \['stm'\]; known are stem, parent and name"),
        (lambda f: {"utility": True}, "--utility needs label masks"),
    ],
)
def test_what_cannot_be_judged_is_refused_with_the_reason(
    folders: dict[str, str], spoil: Any, message: str
) -> None:
    """One line, before anything is written."""
    with pytest.raises(MirageError, match=message) as raised:
        study_of(folders, **spoil(folders))
    assert "\n" not in str(raised.value)


def test_synthetic_folder_that_is_the_training_folder_is_left_to_the_report(folders: dict[str, str]) -> None:
    """It is judged, and said."""
    study = study_of({**folders, "synthetic": folders["real_train"]})
    assert any("every image is a copy" in remark for remark in study.remarks)


def test_masks_are_found_beside_and_inside_the_images_folders(
    folders: dict[str, str], tmp_path: Path
) -> None:
    """A folder of masks for each: by the beginning of the name, with one reading of their values for all."""
    places = []
    for key, folder in folders.items():
        place = Path(folder) / "labels" if key == "synthetic" else tmp_path / f"{key} masks"
        place.mkdir()
        for image in sorted(Path(folder).glob("*.png")):
            save(place / f"{image.stem}_seg.png", noise(1, 32, 40) % (3 if key == "real_train" else 2))
        places.append(str(place))
    datasets = study_of(folders, masks=places, utility=True).config["datasets"]
    assert datasets["training"]["source"]["masks"] == "../real_train masks/{stem}_seg.png"
    assert datasets["synthetic"]["source"]["masks"] == "labels/{stem}_seg.png"
    assert datasets["synthetic"]["source"]["exclude"] == ["labels/**"]
    for entry in datasets.values():
        assert entry["source"]["labels"] == {1: "label 1", 2: "label 2"}
        assert entry["prepare"]["require_mask"]


def test_a_pattern_of_masks_is_that_of_every_folder(folders: dict[str, str]) -> None:
    """Binary masks of 0 and 255 need no table of labels."""
    for folder in folders.values():
        for image in sorted(Path(folder).glob("*.png")):
            save(image.with_name(f"{image.stem}_mask.png"), (noise(1, 32, 40) > 99) * np.uint8(255))
    config = study_of(folders, masks=["{stem}_mask.png"], utility=True).config
    assert [entry["source"]["masks"] for entry in config["datasets"].values()] == ["{stem}_mask.png"] * 3
    assert "labels" not in config["datasets"]["training"]["source"]
    assert look(folders["synthetic"], "{stem}_mask.png").opened == 9
    assert config["evaluations"]["utility"]["test"] == "heldout"
    with pytest.raises(MirageError, match="give --real-holdout"):
        study_of(
            {"real_train": folders["real_train"], "synthetic": folders["synthetic"]},
            masks=["{stem}_mask.png"],
            utility=True,
        )
    assert list(config["evaluations"]["utility"]["arms"]) == ["real", "synthetic", "real_and_synthetic"]


def test_values_on_another_scale_are_refused_unless_a_window_is_given(folders: dict[str, str]) -> None:
    """8-bit values in a 16-bit file would be nearly black."""
    for number in range(9):
        save(Path(folders["synthetic"]) / f"{number:02d}.png", noise(number, 32, 40).astype(np.uint16))
    with pytest.raises(DataError, match=r"nearly black beside .* give --window LOW HIGH"):
        study_of(folders)
    study = study_of(folders, window=(0.0, 255.0))
    assert not any("scale" in remark for remark in study.remarks)
    intensity = study.config["datasets"]["synthetic"]["prepare"]["intensity"]
    assert intensity == {"kind": "window", "low": 0.0, "high": 255.0}


def test_twelve_bits_in_files_of_sixteen_are_windowed_alike(folders: dict[str, str]) -> None:
    """Of all three folders, so that nothing is nearly black and nobody has to know of it."""
    for folder in folders.values():
        for number in range(9):
            save(Path(folder) / f"{number:02d}.png", noise(number, 32, 40, dtype=np.uint16) // np.uint16(16))
    study = study_of(folders)
    assert not any("scale" in remark for remark in study.remarks)
    prepares = [entry["prepare"] for entry in study.config["datasets"].values()]
    assert {str(entry["intensity"]) for entry in prepares} == {
        "{'kind': 'window', 'low': 0.0, 'high': 4095.0}"
    }


def test_the_written_project_is_the_study_and_can_be_written_again(
    folders: dict[str, str], tmp_path: Path
) -> None:
    """A file to read and to change, beside a Snakefile that is the clone's."""
    study, out = study_of(folders), tmp_path / "out"
    for _ in range(2):
        check_free(out, list(folders.values()))
        write_project(out, study, "judged", ["mirage", "evaluate", "a b"])
    text = (out / "config" / "studies" / "judged.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text) == study.config
    assert "mirage evaluate 'a b'" in text
    assert all(remark in text for remark in study.remarks)
    assert "Snakefile" in (out / "Snakefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("renamed", [False, True], ids=["another name", "a renamed study"])
def test_a_second_study_in_a_folder_is_refused_and_the_first_still_runs(
    folders: dict[str, str], tmp_path: Path, renamed: bool
) -> None:
    """Both would define `datasets.training`: nothing is written, and the message says what to do."""
    out, name = tmp_path / "out", "judged" if renamed else "second"
    studies = out / "config" / "studies"
    write_project(out, study_of(folders), "judged", ["mirage"])
    if renamed:
        (studies / "judged.yaml").rename(studies / "mine.yaml")
    before = sorted(studies.iterdir())
    second = make_study(Request(**folders, name=name))
    with pytest.raises(LayoutError, match=r"another study.*datasets\.training.*another --out"):
        write_project(out, second, name, ["mirage"])
    assert sorted(studies.iterdir()) == before
    load_config(yaml.safe_load((out / "config" / "config.yaml").read_text()), out / "config")


def test_a_command_that_is_stopped_stops_its_jobs(tmp_path: Path) -> None:
    """The workflow does not go on without the command that waits for it."""
    with (
        pytest.raises(KeyboardInterrupt),
        started([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path) as process,
    ):
        raise KeyboardInterrupt
    assert process.returncode == -signal.SIGTERM


@pytest.mark.parametrize("place", ["train/out", "full", "file"])
def test_results_go_to_a_folder_of_their_own(folders: dict[str, str], tmp_path: Path, place: str) -> None:
    """Not among images, not over other files."""
    (tmp_path / "full").mkdir()
    for name in ("full/mine.txt", "file"):
        (tmp_path / name).write_text("mine")
    arguments = [f"--{key.replace('_', '-')}={folder}" for key, folder in folders.items()]
    done = CliRunner().invoke(app, ["evaluate", *arguments, "--out", str(tmp_path / place)])
    assert done.exit_code == 1
    assert "choose" in done.output
    assert "Traceback" not in done.output
    assert not list(tmp_path.rglob("judged.yaml"))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--subjects=p.d", "needs a group in brackets"),
        ("--encoder=pixpac", "is no encoder"),
        ("--name=A B", "A B"),
    ],
)
def test_wrong_options_are_named_and_nothing_is_written(
    folders: dict[str, str], tmp_path: Path, option: str, message: str
) -> None:
    """What only the configuration knows to be wrong."""
    arguments = [f"--{key.replace('_', '-')}={folder}" for key, folder in folders.items()]
    done = CliRunner().invoke(app, ["evaluate", *arguments, option, "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert message in done.output
    assert not (tmp_path / "out").exists()
