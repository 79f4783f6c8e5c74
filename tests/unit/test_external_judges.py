"""Data written for judges that are programs of their own, and their predictions read back."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from typer.testing import CliRunner

from mirage.cli import app
from mirage.config.evaluations import VolumeSegmentationEvaluation
from mirage.data import Dataset
from mirage.data.manifest import write_manifest
from mirage.errors import ConfigError, DataError, LeakError
from mirage.evaluate.external.cases import case_names
from mirage.evaluate.external.deepmedic_files import export_deepmedic, options_of
from mirage.evaluate.external.nnunet import export_nnunet, nested_labels
from mirage.generators import build
from mirage.generators.base import ImageSpec
from mirage.preprocess.nifti import write_nifti

JUDGE = {"arch": "deepmedic", "width": 0.25, "segment": 25}
TUMOUR = {"NCR", "ED", "ET"}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def arm(toy_volumes: Any) -> list[Dataset]:
    """A real dataset and a synthetic one made from its training subjects."""
    fake = toy_volumes("fake", seed=5, splits={"train": 2}, origin="synthetic")
    return [toy_volumes("toy"), fake]


def evaluation(
    train: Sequence[Any], test: str = "toy", keys: Mapping[str, Any] | None = None, **arm: Any
) -> VolumeSegmentationEvaluation:
    """An evaluation whose only arm, ``a``, trains on some datasets."""
    arms = {"a": {"train": list(train), **arm}}
    made = {"evaluator": "volume_segmentation", "test": test, "arms": arms, "baseline": "a", "judge": JUDGE}
    return VolumeSegmentationEvaluation.model_validate({**made, **(keys or {})})


def given(data: Sequence[Dataset]) -> tuple[VolumeSegmentationEvaluation, str, dict[str, Dataset]]:
    """What an export takes: an arm of all these datasets, tested on the first."""
    names = [part.info.name for part in data]
    return evaluation(names, names[0]), "a", dict(zip(names, data, strict=True))


def freeze(path: Path, **options: Any) -> Path:
    """The frozen options of an arm, as the workflow writes them."""
    made = {"evaluator": "volume_segmentation", "test": "toy", "judge": JUDGE, **options}
    path.write_text(yaml.safe_dump({"stage": "evaluate_volume_segmentation", "version": 1, "options": made}))
    return path


def call(command: str, *words: object) -> int:
    """Exit status of a command."""
    return CliRunner().invoke(app, [command, *map(str, words)]).exit_code


def manifests(data: Sequence[Dataset]) -> list[Path]:
    """Manifests of datasets."""
    return [part.folder / "manifest.parquet" for part in data]


def read(path: Path) -> np.ndarray:
    """Voxels (D, H, W) of a written volume."""
    found: np.ndarray = np.asarray(nibabel.load(path).dataobj).transpose()
    return found


def assignments(path: Path) -> dict[str, Any]:
    """Values of a ``.cfg`` file, which is Python."""
    lines = path.read_text().splitlines()
    return {key: ast.literal_eval(value) for key, value in (line.split(" = ", 1) for line in lines)}


def listed(path: Path) -> list[Path]:
    """Files that a list file names, relative to where it lies."""
    return [(path.parent / line).resolve() for line in path.read_text().splitlines()]


def test_deepmedic_gets_lists_volumes_and_configuration(arm: list[Dataset], tmp_path: Path) -> None:
    """Subjects in one order in all lists, the volumes as our judge sees them, classes without gaps."""
    out = tmp_path / "out"
    export_deepmedic(*given(arm), out)
    train = out / "train"
    expected = [f"toy_train_{n}" for n in range(3)] + [f"fake_train_{n}" for n in range(2)]
    for name in ("Channels_flair", "Channels_t1", "Channels_t1ce", "Channels_t2", "GtLabels", "RoiMasks"):
        files = listed(train / f"train{name}.cfg")
        assert [file.parent.name for file in files] == expected
        assert all(file.is_file() for file in files)
        assert len(listed(train / "validation" / f"validation{name}.cfg")) == 1
        assert len(listed(out / "test" / f"test{name}.cfg")) == 2
    judge = build("deepmedic", options_of(*given(arm)[:2]), ImageSpec.of(arm[0].info))
    item = arm[0].select("train").item(0)
    *channels, brain = judge.condition(item).numpy()
    for number, file in enumerate(sorted((out / "nifti" / expected[0]).glob("[ft]*.nii.gz"))):
        assert file.name.split(".")[0] == ["flair", "t1", "t1ce", "t2"][number]
        assert np.array_equal(read(file), channels[number])
    assert np.array_equal(read(out / "nifti" / expected[0] / "brain.nii.gz"), brain)
    labels = read(out / "nifti" / expected[0] / "label.nii.gz")
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, item.masks[0])
    classes = json.loads((out / "classes.json").read_text())
    assert classes == {"0": "background", "1": "NCR", "2": "ED", "3": "ET"}
    model = assignments(out / "model" / "modelConfig.cfg")
    assert model["numberOfOutputClasses"] == 4
    assert model["numberOfInputChannels"] == 4
    assert model["subsampleFactor"] == [[3, 3, 3], [5, 5, 5]]
    assert model["segmentsDimTrain"] == [25, 25, 25]
    assert len(model["kernelDimPerLayerFC"]) == len(model["numberFMsPerLayerFC"]) + 1
    training = assignments(train / "trainConfig.cfg")
    assert training["channelsTraining"][0] == "./trainChannels_flair.cfg"
    assert all((train / name).is_file() for name in training["channelsTraining"])
    assert (train / training["gtLabelsValidation"]).is_file()
    assert training["predefinedSchedule"] == [17, 22, 27, 30, 33]
    testing = assignments(out / "test" / "testConfig.cfg")
    assert (out / "test" / testing["namesForPredictionsPerCase"]).read_text().splitlines() == [
        "pred_toy_test_0.nii.gz",
        "pred_toy_test_1.nii.gz",
    ]


def test_volumes_carry_their_place_and_what_they_are(arm: list[Dataset], tmp_path: Path) -> None:
    """Spacing and axes in the header; synthetic volumes say so."""
    export_deepmedic(*given(arm), tmp_path / "out")
    real = nibabel.load(tmp_path / "out" / "nifti" / "toy_train_0" / "flair.nii.gz")
    assert real.shape == (26, 28, 24)
    assert real.header.get_zooms() == (1.5, 1.5, 2.0)
    assert nibabel.aff2axcodes(real.affine) == ("L", "P", "S")
    fake = nibabel.load(tmp_path / "out" / "nifti" / "fake_train_0" / "flair.nii.gz")
    assert b"synthetic" in bytes(fake.header["descrip"])
    assert b"synthetic" not in bytes(real.header["descrip"])


def test_an_items_own_affine_is_kept(toy_volumes: Any, tmp_path: Path) -> None:
    """The place that preparation has noted in the manifest goes into the header."""
    data = toy_volumes()
    affine = np.array([[-1.5, 0, 0, 10], [0, -1.5, 0, 20], [0, 0, 2, -30], [0, 0, 0, 1.0]])
    path = data.folder / "manifest.parquet"
    table = pq.read_table(path)
    column = pa.array([affine[:3].ravel().tolist()] * len(table), pa.list_(pa.float64()))
    write_manifest(path, table.append_column("affine", column))
    data = Dataset(data.folder)
    export_nnunet(*given([data]), tmp_path / "out")
    found = nibabel.load(tmp_path / "out" / "imagesTs" / "toy_test_1_0003.nii.gz")
    assert np.allclose(found.affine, affine)


def test_nnunet_gets_its_raw_layout_with_our_split(arm: list[Dataset], tmp_path: Path) -> None:
    """Channels in four digits, labels numbered from the outside in, validation real."""
    out = tmp_path / "Dataset001_toy"
    export_nnunet(*given(arm), out)
    described = json.loads((out / "dataset.json").read_text())
    assert described == {
        "channel_names": {"0": "flair", "1": "t1", "2": "t1ce", "3": "t2"},
        "labels": {"background": 0, "WT": [1, 2, 3], "TC": [2, 3], "ET": [3]},
        "regions_class_order": [1, 2, 3],
        "numTraining": 6,
        "file_ending": ".nii.gz",
    }
    (split,) = json.loads((out / "splits_final.json").read_text())
    assert split["val"] == ["toy_val_0"]
    assert sorted(split["train"]) == ["fake_train_0", "fake_train_1", *(f"toy_train_{n}" for n in range(3))]
    images = {file.name for file in (out / "imagesTr").iterdir()}
    assert images == {f"{case}_{n:04d}.nii.gz" for case in split["train"] + split["val"] for n in range(4)}
    assert len(list((out / "imagesTs").iterdir())) == 8
    labels = read(out / "labelsTr" / "toy_train_1.nii.gz")
    stored = arm[0].select("train").mask(1)
    assert np.array_equal(labels, np.array([0, 2, 1, 3], np.uint8)[stored])
    flair = read(out / "imagesTr" / "toy_train_1_0000.nii.gz")
    assert np.array_equal(flair, arm[0].select("train").image(1)[0])


def test_labels_are_numbered_by_shells() -> None:
    """Regions must hold one another; a label of no region comes last."""
    regions = {"TC": ["NCR", "ET"], "ET": ["ET"], "WT": ["NCR", "ED", "ET"]}
    assert nested_labels(regions, ["NCR", "ED", "ET", "RC"]) == ["ED", "NCR", "ET", "RC"]
    for wrong in ({"A": ["NCR"], "B": ["ED"]}, {"WT": ["NCR", "ED"]}, {"WT": ["edema"]}):
        with pytest.raises(ConfigError, match="nnU-Net learns regions"):
            nested_labels(wrong, ["NCR", "ED", "ET"])


def test_leaks_are_refused(toy_volumes: Any, tmp_path: Path) -> None:
    """Synthetic volumes that know a validation subject, or a synthetic test set."""
    data = toy_volumes()
    knows = toy_volumes("knows", seed=5, origin="synthetic", lineage=("toy:0/val_s0",))
    both = {"toy": data, "knows": knows}
    with pytest.raises(LeakError, match="toy:0/val_s0"):
        export_nnunet(evaluation(["knows"]), "a", both, tmp_path / "a")
    with pytest.raises(LeakError, match="synthetic"):
        export_deepmedic(evaluation(["toy"], "knows"), "a", both, tmp_path / "b")
    assert not (tmp_path / "a").exists()


def test_an_arm_is_exported_as_it_is_trained(arm: list[Dataset], tmp_path: Path) -> None:
    """Parts of datasets are cut as for our own judges; what a program cannot follow is refused."""
    both = {"toy": arm[0], "fake": arm[1]}
    parts = evaluation([{"data": "toy", "share": 0.67}, {"data": "fake", "images": 1}])
    export_nnunet(parts, "a", both, tmp_path / "out", seed=3)
    (split,) = json.loads((tmp_path / "out" / "splits_final.json").read_text())
    expected = [f"toy_{item}" for item in arm[0].select("train", 2, seed=3).items["item_id"]]
    expected += [f"fake_{item}" for item in arm[1].select("train", 1, seed=3).items["item_id"]]
    assert split["train"] == expected
    with pytest.raises(ConfigError, match="pretrain"):
        export_nnunet(evaluation(["toy"], pretrain=["fake"]), "a", both, tmp_path / "no")
    with pytest.raises(ConfigError, match=r"needs the datasets fake"):
        export_nnunet(evaluation(["toy", "fake"]), "a", {"toy": arm[0]}, tmp_path / "no")
    with pytest.raises(DataError, match="9 training images"):
        export_nnunet(evaluation([{"data": "toy", "images": 9}]), "a", both, tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_an_evaluations_own_regions_are_learnt(toy_volumes: Any, tmp_path: Path) -> None:
    """They decide nnU-Net's numbers; unknown labels are found before weeks of training."""
    data = {"toy": toy_volumes()}
    regions = {"all": ["NCR", "ED", "ET"], "core": ["NCR", "ET"], "dead": ["NCR"]}
    export_nnunet(evaluation(["toy"], keys={"regions": regions}), "a", data, tmp_path / "out")
    described = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert described["labels"] == {"background": 0, "all": [1, 2, 3], "core": [2, 3], "dead": [3]}
    wrong = evaluation(["toy"], keys={"regions": {"all": ["oedema"]}})
    with pytest.raises(ConfigError, match="oedema"):
        export_deepmedic(wrong, "a", data, tmp_path / "no")


def test_an_export_is_whole_or_absent(
    arm: list[Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written among the cases of another arm, and nothing is left of a failed export."""
    out = tmp_path / "made" / "out"
    out.mkdir(parents=True)
    export_deepmedic(*given(arm), out)
    before = sorted(out.rglob("*"))
    for export in (export_deepmedic, export_nnunet):
        with pytest.raises(DataError, match="not an empty folder"):
            export(*given(arm[:1]), out)
    assert sorted(out.rglob("*")) == before
    assert list(out.parent.iterdir()) == [out]
    monkeypatch.setattr(
        "mirage.evaluate.external.nnunet.write_json", lambda *_: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(OSError, match="disk full"):
        export_nnunet(*given(arm), tmp_path / "made" / "other")
    assert list(out.parent.iterdir()) == [out]


def test_names_are_safe_and_unique() -> None:
    """An item id may hold ``/``; what would fall on one file is told apart, and nothing else is marked."""
    keys = [("a", "x_y"), ("a", "x/y"), ("a_x", "y"), ("a", "Q"), ("a", "q"), ("b", "s/t"), ("b", "u.v-w")]
    names = case_names([*keys, ("c", "d"), ("c", "d")])
    assert len({name.lower() for name in names}) == len(names)
    assert not any("/" in name for name in names)
    assert names[6] == "b_u.v-w"
    assert names[5].startswith("b_s_t-")
    assert case_names(keys[5:6]) == names[5:6]


def test_items_in_folders_are_exported_and_scored(toy_volumes: Any, tmp_path: Path) -> None:
    """Item ids with ``/`` give flat files, which are found again."""
    data = toy_volumes()
    path = data.folder / "manifest.parquet"
    table = pq.read_table(path)
    ids = pa.array([item.replace("_", "/") for item in table["item_id"].to_pylist()])
    write_manifest(path, table.set_column(table.column_names.index("item_id"), "item_id", ids))
    config, out = freeze(tmp_path / "arm.yaml", arm={"train": [{"data": "toy"}]}), tmp_path / "out"
    assert call("export-nnunet", path, "--config", config, "--out", out) == 0
    assert len(list((out / "labelsTs").glob("*.nii.gz"))) == 2
    files = ("--predictions", out / "labelsTs", "--classes", out / "classes.json")
    names = ("--evaluation", "e", "--arm", "a", "--out", tmp_path / "scores")
    assert call("score-predictions", path, "--config", config, *files, *names) == 0


def test_predictions_are_scored_like_our_own(arm: list[Dataset], tmp_path: Path) -> None:
    """From the command line: exported labels as predictions are perfect, a missing or odd one is named."""
    out, scores = tmp_path / "Dataset001_toy", tmp_path / "scores"
    config = freeze(
        tmp_path / "arm.yaml",
        arm={"train": [{"data": "toy"}, {"data": "fake", "images": 1}]},
        penalty_mm=99.0,
    )
    frozen = [*manifests(arm), "--config", config]
    assert call("export-nnunet", *frozen, "--out", out) == 0
    assert call("export-nnunet", *frozen, "--out", out) == 1
    files = ("--predictions", out / "labelsTs", "--classes", out / "classes.json", "--out", scores)
    score = ["score-predictions", *frozen, *files, "--evaluation", "e", "--arm", "nnunet"]
    assert call(*score) == 0
    rows = pd.read_parquet(scores / "metrics.parquet")
    assert set(rows["label"]) == TUMOUR | {"WT", "TC"}
    assert (rows.loc[rows["metric"].isin(["dice", "lesion_dice"]), "value"] == 1).all()
    assert (rows.loc[rows["metric"] == "hd95_mm", "value"] == 0).all()
    assert set(rows["arm"]) == {"nnunet"}
    facts = json.loads((scores / "details" / "arm.json").read_text())
    assert facts["regions"]["TC"] == ["NCR", "ET"]
    assert [part["images"] for part in facts["train"]] == [3, 1]
    assert facts["implausible_order"] is None
    file = out / "labelsTs" / "toy_test_0.nii.gz"
    odd = read(file)
    odd[0, 0, 0] = 9
    write_nifti(file, odd, np.eye(4), "")
    assert call(*score) == 1
    file.rename(out / "labelsTs" / "pred_toy_test_0_Segm.nii.gz")
    write_nifti(out / "labelsTs" / "pred_toy_test_0_Segm.nii.gz", np.zeros_like(odd), np.eye(4), "")
    assert call(*score) == 0
    rows = pd.read_parquet(scores / "metrics.parquet")
    assert rows.loc[rows["metric"] == "hd95_mm", "value"].max() == 99
    enhancing = (read(out / "labelsTs" / "toy_test_1.nii.gz") == 3).astype(np.uint8) * 3
    write_nifti(out / "labelsTs" / "toy_test_1.nii.gz", enhancing, np.eye(4), "")
    scored = CliRunner().invoke(app, [str(word) for word in score])
    assert scored.exit_code == 0
    assert "e/nnunet/seed-0: IMPLAUSIBLE ORDER" in scored.output
    assert "WT" in json.loads((scores / "details" / "arm.json").read_text())["implausible_order"]
    (out / "labelsTs" / "toy_test_1.nii.gz").unlink()
    assert call(*score) == 1


def test_deepmedics_options_are_those_of_the_judge(toy_volumes: Any, tmp_path: Path) -> None:
    """From the command line: the evaluation's judge, augmented where the arm asks for it."""
    data, path = toy_volumes(), tmp_path / "arm.yaml"
    judge = {"arch": "deepmedic", "variant": "dual", "segment": 25, "normalise": "stored"}
    training = {"train": [{"data": "toy"}]}
    for name, augment in (("out", False), ("more", True)):
        freeze(path, judge=judge, arm={**training, "augment": augment})
        out = tmp_path / name
        assert call("export-deepmedic", *manifests([data]), "--config", path, "--out", out) == 0
        assert (assignments(out / "train" / "trainConfig.cfg")["augm_sample_prms_tr"] is None) != augment
    assert assignments(out / "model" / "modelConfig.cfg")["numberFMsPerLayerFC"] == [150, 150]
    assert float(read(out / "nifti" / "toy_val_0" / "t1.nii.gz").min()) == -1
    other = evaluation(["toy"], keys={"judge": {"arch": "segmenter3d"}})
    assert options_of(other, "a").variant == "default"
    no = ("--out", tmp_path / "no")
    for wrong in ({"evaluator": "segmentation", "arm": training}, {"judge": {"arch": "deepmedik"}}, {}):
        freeze(path, **{"arm": training, **wrong} if wrong else {})
        assert call("export-deepmedic", *manifests([data]), "--config", path, *no) == 1
    assert not (tmp_path / "no").exists()


def test_images_are_not_exported(toy_dataset: Any, tmp_path: Path) -> None:
    """Both programs are for volumes here."""
    with pytest.raises(DataError, match="kind: volume"):
        export_nnunet(*given([toy_dataset()]), tmp_path / "out")
