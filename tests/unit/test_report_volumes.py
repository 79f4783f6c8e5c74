"""The report of a study of volumes: planes the right way up, regions, tumours, files to open in a viewer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest

from conftest import ball_item, write_dataset
from mirage.config.evaluations import StudyConfig, VolumeSegmentationEvaluation
from mirage.data import Dataset, ItemRow, ShardWriter, shard_name
from mirage.data.dataset import write_info
from mirage.data.manifest import to_table, write_manifest
from mirage.data.shards import content_hash
from mirage.metrics.volumes import LesionRules, implausible_order, volume_scores
from mirage.preprocess.volumes import affine_attribute
from mirage.report import Finished, ReportInputs, build_report, tumours, volumes
from mirage.report.chapters.training import metric_groups
from mirage.report.chapters.tumours import compare, statistics
from mirage.report.evaluators import arms as general
from mirage.report.evaluators import volume_segmentation as chapter
from mirage.report.numbers import TIMES
from mirage.report.summary import nested, pick, row_key, summarise

REGIONS = {"NCR": [1], "ED": [2], "ET": [3], "WT": [1, 2, 3], "TC": [1, 3]}
ARMS = {"real": {"train": ["real"]}, "mixed": {"train": ["mixed"]}, "both": {"train": ["real", "mixed"]}}
LABELS = {1: "NCR", 2: "ED", 3: "ET"}
SPACING = (2.0, 1.5, 1.5)
STUDY = StudyConfig(title="Balls", question="Do mixed balls help?", evaluations=["vol"])
AFFINE = np.array([[-1.5, 0, 0, 20], [0, -1.5, 0, 30], [0, 0, 2, -10], [0, 0, 0, 1]], dtype=float)
"""Voxel (w, h, d) to RAS mm of every toy volume."""


def with_affine(dataset: Dataset) -> Dataset:
    """The same folder with the place of its voxels in the manifest."""
    path = dataset.folder / "manifest.parquet"
    table = pd.read_parquet(path)
    table["affine"] = [affine_attribute(AFFINE)] * len(table)
    table.to_parquet(path)
    return Dataset(dataset.folder)


def mixed(folder: Path, real: Dataset, *, count: int = 5, keep: bool = False, **config: Any) -> Dataset:
    """A dataset of tumours of A on brains of B, made of the training subjects of ``real``.

    ``keep`` leaves B's own tumour where A's is not; ``config`` changes what the recipe says of itself.
    """
    train, info = real.select("train"), real.info
    shape, rows = info.image_shape, []
    with ShardWriter(folder / f"{shard_name(0, 1)}.arrow", shape, np.uint16, (2, *shape[1:])) as writer:
        for number in range(count):
            a, b = number % len(train), (number + 1) % len(train)
            brain = train.mask(b, "brain")
            label = np.where(brain > 0, train.mask(a), 0).astype(np.uint8)
            label = np.where(label > 0, label, train.mask(b)) if keep else label
            image = train.image(b)
            rows.append(
                ItemRow(
                    item_id=f"mixed_{number}",
                    subject_id=f"mixed_{number}",
                    origin="synthetic",
                    mask_origin="synthetic",
                    split="train",
                    shard=0,
                    row=writer.append(image, np.stack([label, brain])),
                    content_hash=content_hash(image),
                    donor_subject_ids=[
                        f"{info.namespace}/{train.items['subject_id'].iat[index]}" for index in (a, b)
                    ],
                    attributes={"affine": affine_attribute(AFFINE)},
                )
            )
    write_manifest(folder / "manifest.parquet", to_table(rows))
    recipe = {"recipe": "mix_labels", "data": info.name, "generator": {"generator": "gan", "seed": 0}}
    known = {
        "name": folder.name,
        "namespace": folder.name,
        "items": {"train": count},
        "provenance": {"seed": 3, "config": {**recipe, **config}},
    }
    write_info(folder, info.model_copy(update=known))
    return Dataset(folder)


def predict(truth: np.ndarray, quality: float, seed: int) -> np.ndarray:
    """The truth with some of its voxels lost and the rest shifted when the quality is low."""
    rng = np.random.default_rng(seed)
    kept = np.where(rng.uniform(size=truth.shape) < quality, truth, 0).astype(np.uint8)
    return kept if quality > 0.7 else np.roll(kept, 3, axis=2)


def write_arm(
    folder: Path,
    arm: str,
    seed: int,
    test: Dataset,
    quality: float,
    *,
    condition: Dataset | None = None,
    warned: bool = False,
) -> Path:
    """Results of one judge, as the evaluation writes them."""
    out, rows, means = folder / arm / f"seed-{seed}", [], {}
    shape = (1, *test.info.image_shape[1:])
    with ShardWriter(out / "details/predictions.arrow", shape, np.uint8) as writer:
        for index, item in enumerate(test.items.itertuples()):
            truth = test.mask(index)
            found = predict(truth, quality, 10 * seed + index)
            writer.append(found[None])
            for name, metric, value in volume_scores(
                truth, found, REGIONS, ["WT", "TC", "ET"], SPACING, LesionRules(1, 5.0), 374.0
            ):
                rows.append((arm, seed, item.subject_id, item.item_id, metric, name, value))
                means.setdefault(name, []).append(value if metric == "dice" else np.nan)
    dice = {name: float(np.nanmean(values)) for name, values in means.items()}
    if warned:
        dice |= {"WT": 0.611, "TC": 0.716, "ET": 0.756}
    if condition is not None:
        rows += [
            (
                f"condition:{condition.info.name}",
                seed,
                item,
                item,
                "condition_dice",
                name,
                0.5 + 0.05 * number,
            )
            for number, item in enumerate(condition.items["item_id"])
            for name in REGIONS
        ]
    columns = ["arm", "seed", "subject_id", "item_id", "metric", "label", "value"]
    table = pd.DataFrame(rows, columns=columns).assign(evaluation="vol", fold=None)
    table.to_parquet(out / "metrics.parquet")
    facts = {
        "arm": arm,
        "seed": seed,
        "mean_dice": dice,
        "implausible_order": implausible_order(dice) if warned else None,
        "spacing_unknown": 0,
        "label_fidelity": []
        if condition is None
        else [{"data": condition.info.name, "images": len(condition), "also_learnt_by_the_judge": 3}],
        "provenance": {},
    }
    (out / "details/arm.json").write_text(json.dumps(facts))
    return out


def evaluation(
    folder: Path,
    test: Dataset,
    qualities: Mapping[str, float],
    *,
    condition: Dataset | None = None,
    warned: Sequence[str] = (),
    **keys: Any,
) -> Finished:
    """A finished evaluation of volumes with two seeds an arm."""
    entry = {"evaluator": "volume_segmentation", "test": "real", "seeds": [0, 1], **keys}
    arms = {arm: ARMS[arm] for arm in qualities}
    config = VolumeSegmentationEvaluation.model_validate({**entry, "arms": arms})
    return Finished(
        config,
        [
            write_arm(
                folder,
                arm,
                seed,
                test,
                quality,
                condition=condition if arm == "real" else None,
                warned=arm in warned,
            )
            for arm, quality in qualities.items()
            for seed in (0, 1)
        ],
    )


QUALITIES = {"real": 0.9, "mixed": 0.5, "both": 0.91}


def real_volumes(folder: Path) -> Dataset:
    """Real volumes (16, 22, 20) with known places, anisotropic voxels."""
    extent = (16, 22, 20)

    def make(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        image, label, brain = ball_item(rng, extent, 4)
        return image, np.stack([label, brain])

    dataset = write_dataset(
        folder,
        make,
        splits={"train": 4, "val": 1, "test": 3},
        shards=1,
        seed=0,
        origin="real",
        mask_origin="annotated",
        modality="toy brains",
        image_shape=(4, *extent),
        image_dtype="uint16",
        channel_names=["flair", "t1", "t1ce", "t2"],
        mask_channels=["label", "brain"],
        labels=LABELS,
        spacing_mm=SPACING,
    )
    return with_affine(dataset)


def inputs_of(folder: Path) -> ReportInputs:
    """Inputs of a study of volumes: no fidelity evaluation, no models, no benchmarks."""
    real = real_volumes(folder / "real")
    made = mixed(folder / "mixed", real)
    done = evaluation(folder / "vol", real.select("test"), QUALITIES, condition=made, warned=["mixed"])
    return ReportInputs({"vol": done}, {"real": real.folder, "mixed": made.folder})


@pytest.fixture
def real(tmp_path: Path) -> Dataset:
    """See ``real_volumes``."""
    return real_volumes(tmp_path / "real")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    """Inputs that tests leave as they find them."""
    return inputs_of(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def page(study: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the report of ``study``."""
    out = tmp_path_factory.mktemp("out")
    build_report(STUDY, "balls", study, out)
    return out


def test_study_of_volumes_without_fidelity_has_a_complete_report(page: Path) -> None:
    """Every exhibit that the study's publication needs is there; links lead to files; the page is small."""
    text = (page / "report.html").read_text(encoding="utf-8")
    assert len(text.encode()) < 5_000_000
    ids = re.findall(r"<small>([a-z_]+(?:/[a-z]+)?)</small>", text)
    wanted = {
        "preparation", "gallery/mixed", "montage/mixed", "mixing/mixed", "volumes", "label_codes",
        "tumour_volumes/real", "tumour_volume_table/real", "tumour_places/real", "tumour_place_table/real",
        "results/vol", "forest/vol", "regions/vol", "region_differences/vol", "distances/vol", "lesions/vol",
        "detection/vol", "subjects/vol", "predictions/vol", "label_fidelity/vol",
    }  # fmt: skip
    assert wanted <= set(ids)
    for target in re.findall(r'<a href="([^"#]+)"', text):
        assert (page / target).is_file(), target
    assert f"volume (C{TIMES}D{TIMES}H{TIMES}W, voxels)" in text
    assert "Fidelity was not tested" in text
    assert "Novelty was not tested" in text
    assert text.count('role="img"') == text.count("<svg")
    assert all(alt.strip() for alt in re.findall(r'<img src="[^"]*" alt="([^"]*)"', text))


def test_regions_become_metrics_of_their_own(study: ReportInputs) -> None:
    """A row a metric and region; distances are better when smaller; conditions are compared with nothing."""
    summary = summarise(study)
    rows = {row_key(row): row for row in summary.itertuples()}
    assert len(rows) == len(summary)
    dice, far = (rows[f"vol/mixed/{metric}/WT/difference"] for metric in ("dice", "hd95_mm"))
    assert dice.estimate < 0 < far.estimate
    assert dice.verdict == far.verdict == "worse"
    assert rows["vol/real/hd95_mm/WT/absolute"].high > 1
    found = summary[summary["arm"] == "condition:mixed"]
    assert set(found["kind"]) == {"absolute"}
    assert set(found["metric"]) == {f"condition_dice/{name}" for name in REGIONS}
    assert found["estimate"].to_numpy() == pytest.approx(0.6)
    assert set(found["n_subjects"]) == {5}
    assert not found["verdict"].notna().any()
    tree = nested(summary)["vol"]
    assert tree["real"]["dice/ET"]["absolute"]["estimate"] == rows["vol/real/dice/ET/absolute"].estimate


def test_conditions_are_no_arms_of_the_verdict_and_its_sizes(study: ReportInputs) -> None:
    """Utility speaks of two arms and three test subjects; fidelity stays untested but is not silent."""
    summary = summarise(study)
    utility, fidelity = chapter.verdicts(study.evaluations, {"mixed"}, summary)
    assert (
        len([sentence for sentence in utility.sentences if "scores" in sentence or "told" in sentence]) == 2
    )
    assert "3 test subjects" in utility.sentences[-1]
    assert "order of the regions is implausible in 2 judges" in utility.sentences[0]
    assert fidelity.word == "untested"
    assert "finds in mixed" in fidelity.sentences[0]
    assert "Dice 0.600 [" in fidelity.sentences[0]
    assert any("3 test subjects" in point for point in chapter.limits(study.evaluations, summary))


def test_table_of_regions_has_a_row_an_arm_and_a_column_a_region(page: Path) -> None:
    """Regions first, labels behind, ET once; no condition among the arms."""
    (path,) = (page / "figures").glob("table-*_regions_vol.csv")
    table = pd.read_csv(path)
    assert list(dict.fromkeys(table["metric"])) == ["dice/NCR", "dice/ED", "dice/ET", "dice/WT", "dice/TC"]
    assert set(table["arm"]) == {"real", "mixed", "both"}
    text = (page / "report.html").read_text(encoding="utf-8")
    tables = dict(re.findall(r'<figure id="fig-([a-z-]+)" class="table">(.*?)</figure>', text, re.S))
    heads = re.findall(r'<th[^>]*scope="col"[^>]*>([^<]*)</th>', tables["regions-vol"])
    assert heads == ["arm", "WT", "TC", "ET", "NCR", "ED"]
    assert tables["regions-vol"].count("<tr>") == 4
    assert tables["region-differences-vol"].count("<tr>") == 3
    bold = re.findall(r'data-key="vol/(\w+)/dice/(\w+)/difference">\s*<b>', tables["region-differences-vol"])
    assert {arm for arm, _ in bold} == {"mixed"}
    assert "condition:" not in tables["results-vol"]
    assert "3 donors known to the judge" in tables["label-fidelity-vol"]


def test_implausible_order_is_boxed(page: Path) -> None:
    """The box names the judges that were warned of, with their numbers, and nothing else does."""
    text = (page / "report.html").read_text(encoding="utf-8")
    (box,) = re.findall(r'<div class="warning" role="note">(.*?)</div>', text, re.S)
    assert "mixed, seed 0: WT 0.611, TC 0.716, ET 0.756" in box
    assert "mixed, seed 1" in box
    assert "2 of 6 judges" in box
    assert "real, seed" not in box


def test_plausible_order_has_no_box(real: Dataset, tmp_path: Path) -> None:
    """Without a warning in any arm there is no box, and without a WT the first region leads."""
    done = evaluation(
        tmp_path / "vol", real.select("test"), {"real": 0.9}, regions={"TC": ["NCR", "ET"], "ALL": ["ED"]}
    )
    inputs = ReportInputs({"vol": done}, {"real": real.folder})
    build_report(STUDY, "balls", inputs, tmp_path / "out")
    text = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert 'class="warning"' not in text
    assert "Dice of TC" in text
    assert list((tmp_path / "out/volumes").iterdir()) == []


def test_planes_are_the_right_way_up() -> None:
    """Anterior is up in axial planes, superior in the others; the patient's right is on the left."""
    volume = np.zeros((6, 8, 10), np.uint8)
    volume[4, 1, 2] = 1  # superior, anterior, right
    assert np.argwhere(volumes.cut(volume, "axial", (4, 1, 2))).tolist() == [[1, 2]]
    assert np.argwhere(volumes.cut(volume, "coronal", (4, 1, 2))).tolist() == [[1, 2]]
    assert np.argwhere(volumes.cut(volume, "sagittal", (4, 1, 2))).tolist() == [[1, 1]]
    assert volumes.cut(volume, "coronal", (4, 1, 2)).base is volume


def test_pictures_are_in_proportion(real: Dataset) -> None:
    """Voxels of 2 x 1.5 x 1.5 mm: a coronal plane of 16 x 20 voxels is 32 mm high and 30 mm wide."""
    at = (8, 11, 10)
    assert volumes.sequence_tile(real, 0, 0, "coronal", at).rgb.shape == (21, 20, 3)
    assert volumes.sequence_tile(real, 0, 0, "axial", at).rgb.shape == (22, 20, 3)
    assert volumes.sequence_tile(real, 0, 0, "coronal", at, true=False).rgb.shape == (16, 20, 3)
    tile = volumes.sequence_tile(real, 0, 0, "sagittal", at)
    assert tile.outline is not None
    assert tile.outline.shape == tile.rgb.shape[:2] == (21, 22)


def test_slice_with_the_most_tumour_is_shown() -> None:
    """The fullest slice, not the middle one, unless the mask is empty; the centre lies in the tumour."""
    mask = np.zeros((10, 6, 6), np.uint8)
    assert volumes.fullest_slice(mask) == 5
    assert volumes.centre_of(mask) == (5, 3, 3)
    mask[2, 1:3, 1:3] = 2
    mask[7, 1, 1] = 1
    assert volumes.fullest_slice(mask) == 2
    ring = np.zeros((5, 9, 9), np.uint8)
    ring[2, 2:7, 2:7] = 1
    ring[2, 3:6, 3:6] = 0
    assert ring[volumes.centre_of(ring)] == 1


def test_labels_are_painted_in_the_colours_of_the_legend() -> None:
    """Each label has its own colour wherever it is drawn, and what has none stays as it was."""
    rgb = np.full((1, 4, 3), 100, np.uint8)
    drawn = volumes.painted(rgb, np.array([[0, 1, 2, 3]]), LABELS, opacity=1.0)
    legend = dict(volumes.legend_of(LABELS))
    assert drawn[0, 0].tolist() == [100, 100, 100]
    for place, name in enumerate(("NCR", "ED", "ET"), start=1):
        assert drawn[0, place].tolist() == volumes.rgb_of(legend[name]).tolist()


def test_files_open_in_a_viewer_at_the_right_place(study: ReportInputs, page: Path) -> None:
    """Every sequence and the label of three volumes, marked as synthetic, each voxel where it belongs."""
    made = Dataset(study.datasets["mixed"])
    names = sorted(path.name for path in (page / "volumes/mixed").iterdir())
    parts = ("flair", "seg", "t1", "t1ce", "t2")
    assert names == [f"mixed_{item}_{part}.nii.gz" for item in (0, 2, 4) for part in parts]
    assert not (page / "volumes/real").exists()
    image = nibabel.load(page / "volumes/mixed/mixed_2_t1ce.nii.gz")
    seg = nibabel.load(page / "volumes/mixed/mixed_2_seg.nii.gz")
    for file in (image, seg):
        description = bytes(file.header["descrip"]).rstrip(b"\0").decode()
        assert description.startswith("synthetic, not a patient")
        assert nibabel.aff2axcodes(file.affine) == ("L", "P", "S")
        assert file.affine == pytest.approx(AFFINE)
        assert file.get_qform() == pytest.approx(AFFINE)
        assert file.header.get_zooms() == (1.5, 1.5, 2.0)
    assert np.array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), made.image(2)[2])
    assert np.array_equal(np.asarray(seg.dataobj).transpose(2, 1, 0), made.mask(2))
    assert seg.get_data_dtype() == np.uint8
    (codes,) = (page / "figures").glob("table-*_label_codes.csv")
    assert pd.read_csv(codes).to_dict("list") == {
        "code": [1, 2, 3], "label": ["NCR", "ED", "ET"], "brats_2018": [1, 2, 4],
    }  # fmt: skip


def test_voxels_of_patients_are_not_exported(real: Dataset, tmp_path: Path) -> None:
    """A recipe without a generator pastes real voxels: its volumes are shown but not written.

    Where B's tumour stays, nothing is said of what was cut off.
    """
    made = mixed(tmp_path / "mixed", real, keep=True, generator=None, recipe="carve_mix")
    done = evaluation(tmp_path / "vol", real.select("test"), {"real": 0.9})
    inputs = ReportInputs({"vol": done}, {"real": real.folder, "mixed": made.folder})
    build_report(STUDY, "balls", inputs, tmp_path / "out")
    assert list((tmp_path / "out/volumes").iterdir()) == []
    text = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "gallery/mixed" in text
    assert "<small>volumes</small>" not in text
    (path,) = (tmp_path / "out/figures").glob("figure-*_mixing_mixed.csv")
    assert pd.read_csv(path)["voxels_cut_off"].isna().all()
    assert "A on B" not in text


def test_mixing_shows_what_was_cut_off(study: ReportInputs, page: Path) -> None:
    """The numbers of voxels outside B's brain are right, and volumes that lost most come first."""
    (path,) = (page / "figures").glob("figure-*_mixing_mixed.csv")
    table = pd.read_csv(path)
    train = Dataset(study.datasets["real"]).select("train")
    places = {subject: index for index, subject in enumerate(train.items["subject_id"])}
    for row in table.itertuples():
        tumour, brain = train.mask(places[row.tumour_of]), train.mask(places[row.brain_of], "brain")
        assert row.voxels_cut_off == np.count_nonzero((tumour > 0) & (brain == 0))
    assert table["voxels_cut_off"].is_monotonic_decreasing


def ball(toy_volumes: Callable[..., Dataset], corner: tuple[int, int, int]) -> Dataset:
    """One real volume whose tumour is 2 x 2 x 2 voxels of NCR and as many of ET above, at a corner."""
    dataset = toy_volumes("one", origin="real", extent=(32, 32, 32), splits={"train": 1})
    path = next(dataset.folder.glob("*.arrow"))
    image, brain = dataset.image(0).copy(), np.ones((32, 32, 32), np.uint8)
    label = np.zeros_like(brain)
    d, h, w = corner
    label[d : d + 2, h : h + 2, w : w + 2] = 1
    label[d + 2 : d + 4, h : h + 2, w : w + 2] = 3
    with ShardWriter(path, image.shape, np.uint16, (2, 32, 32, 32)) as writer:
        writer.append(image, np.stack([label, brain]))
    return Dataset(dataset.folder)


def test_tumours_are_measured_in_ml_and_in_the_brains_box(toy_volumes: Callable[..., Dataset]) -> None:
    """8 voxels of 4.5 mm3 a label; the centre and the maps say where the tumour is."""
    found = tumours.measure("one", ball(toy_volumes, (10, 2, 6)))
    assert found is not None
    (row,) = found.table.to_dict("records")
    assert row["volume_NCR"] == pytest.approx(8 * 4.5 / 1000)
    assert row["volume_ED"] == 0
    assert row["volume_WT"] == row["volume_TC"] == pytest.approx(16 * 4.5 / 1000)
    assert (row["d"], row["h"], row["w"]) == pytest.approx((12 / 32, 3 / 32, 7 / 32))
    assert found.box == (64.0, 48.0, 48.0)
    assert found.boxed_by == "the brain"
    where = {plane: np.argwhere(share > 0).tolist() for plane, share in found.maps.items()}
    assert where["axial"] == [[2, 6], [2, 7], [3, 6], [3, 7]]
    assert where["coronal"] == [[row, column] for row in range(18, 22) for column in (6, 7)]  # superior up
    assert where["sagittal"] == [[row, column] for row in range(18, 22) for column in (2, 3)]
    assert found.maps["axial"].max() == pytest.approx(4 / 32)
    assert found.maps["coronal"].max() == pytest.approx(2 / 32)


def test_unknown_spacing_gives_voxels(toy_volumes: Callable[..., Dataset]) -> None:
    """Without spacing volumes are counted, and the report says voxels."""
    dataset = toy_volumes("plain", origin="real", splits={"train": 2}, spacing_mm=None)
    (group,) = tumours.measure_all({"plain": dataset}, [])
    assert group.real is not None
    assert group.real.unit == "voxels"
    assert group.real.table["volume_WT"].iat[0] == np.count_nonzero(dataset.mask(0))


def test_made_tumours_are_compared_with_those_they_were_made_of(real: Dataset, tmp_path: Path) -> None:
    """Groups follow the recipe; numbers are those of the training split; donors are counted once."""
    made = mixed(tmp_path / "mixed", real, count=8)
    (group,) = tumours.measure_all({"mixed": made, "real": real}, ["mixed"])
    assert group.name == "real"
    assert [found.name for found in group.made] == ["mixed"]
    table = statistics(group, ["volume_WT", "h"]).set_index(["dataset", "measure"])
    assert table.loc[("real", "WT"), "n_items"] == 4
    assert table.loc[("mixed", "WT"), ["n_items", "n_subjects"]].tolist() == [8, 4]
    assert np.isnan(table.loc[("real", "WT"), "p"])
    assert 0 < table.loc[("mixed", "WT"), "p"] <= 1
    volumes_ml = [np.count_nonzero(real.select("train").mask(i)) * 4.5 / 1000 for i in range(4)]
    assert table.loc[("real", "WT"), "median"] == pytest.approx(np.median(volumes_ml))


def test_a_real_difference_is_found() -> None:
    """The test tells far samples apart, not equal ones, and says nothing where there are none."""
    low, high = pd.Series(np.arange(20.0)), pd.Series(np.arange(20.0) + 15)
    assert compare(low, high)[1] < 0.001
    assert compare(low, low)[1] == 1
    assert np.isnan(compare(low, pd.Series([np.nan]))[1])


def test_donors_tell_the_source_where_the_recipe_does_not(real: Dataset, tmp_path: Path) -> None:
    """Without a recipe's word the dataset of the donors, at the same extent, is taken."""
    made = mixed(tmp_path / "mixed", real, data=None)
    assert tumours.source_of(made, {"mixed": made, "real": real}) == "real"
    assert tumours.source_of(made, {"mixed": made}) is None


def test_volumes_without_labels_are_still_shown(
    toy_volumes: Callable[..., Dataset], real: Dataset, tmp_path: Path
) -> None:
    """A dataset whose items lack a label gets pictures of its middle slices and no measurements."""
    plain = toy_volumes("plain", origin="real", splits={"train": 2}, seed=4)
    path = plain.folder / "manifest.parquet"
    pd.read_parquet(path).assign(mask_origin=None).to_parquet(path)
    done = evaluation(tmp_path / "vol", real.select("test"), {"real": 0.9})
    inputs = ReportInputs({"vol": done}, {"real": real.folder, "plain": plain.folder})
    build_report(STUDY, "balls", inputs, tmp_path / "out")
    text = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "tumour_volumes/real" in text
    assert "tumour_volumes/plain" not in text


def test_many_arms_are_counted_among_the_findings() -> None:
    """More arms than a reader wants to read one by one: a sentence a verdict, all arms named."""
    arms = {name: {"train": ["real", "made"]} for name in "abcdef"}
    config = VolumeSegmentationEvaluation.model_validate(
        {"evaluator": "volume_segmentation", "test": "real", "arms": {"real": {"train": ["real"]}, **arms}}
    )
    found = ["worse", "worse", "inconclusive", "inconclusive", "inconclusive", "better"]
    rows = [
        {
            "arm": arm,
            "verdict": word,
            "evaluation": "vol",
            "metric": "dice/WT",
            "kind": "difference",
            "label": None,
            "protocol": None,
        }
        for arm, word in zip(arms, found, strict=True)
    ]
    known = {"estimate": 0.1, "low": 0.0, "high": 0.2, "n_subjects": 3, "n_seeds": 1}
    summary = pd.DataFrame([{**row, **known} for row in rows])
    verdict = general.verdict(
        {"vol": Finished(config, [])}, {"made"}, summary, {"vol": chapter.scores_of(config, ["dice/WT"])}
    )
    assert verdict.word == "inconclusive"
    assert verdict.sentences == [
        "vol: 1 of 6 arms scores better than “real” on Dice of WT: “f”.",
        "vol: 2 of 6 arms score worse than “real” on Dice of WT: “a” and “b”.",
        "vol: 3 of 6 arms cannot be told apart from “real” on Dice of WT: “c”, “d” and “e” (3 test subjects, "
        "1 seed).",
    ]


def test_synthetic_data_are_judged_against_the_like_arm_without_them() -> None:
    """What augmentation gains is not credited to the synthetic data beside it."""
    mean = {"real": 0.5, "made_augmented": 0.3, "real_augmented": 0.7, "both_augmented": 0.6, "made": 0.4}
    config = VolumeSegmentationEvaluation.model_validate(
        {
            "evaluator": "volume_segmentation",
            "test": "real",
            "arms": {
                "real": {"train": ["real"]},
                "made_augmented": {"train": ["made"], "augment": True},
                "real_augmented": {"train": ["real"], "augment": True},
                "both_augmented": {"train": ["real", "made"], "augment": True},
                "made": {"train": ["made"]},
            },
        }
    )
    assert {arm: config.like(arm) for arm in mean} == {
        "real": "real",
        "made_augmented": "real",
        "real_augmented": "real_augmented",
        "both_augmented": "real_augmented",
        "made": "real",
    }
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "arm": arm,
            "metric": "dice/WT",
            "seed": seed,
            "subject_id": f"s{subject}",
            "value": value + rng.normal(0, 0.01),
        }
        for arm, value in mean.items()
        for seed in range(3)
        for subject in range(8)
    )
    scores = chapter.scores_of(config, ["dice/WT"])
    summary = general.summarise("vol", config, rows, scores)
    against = {kind: pick(summary, "vol", kind=kind) for kind in ("difference", "added")}
    assert dict(zip(against["difference"]["arm"], against["difference"]["verdict"], strict=True)) == {
        "made_augmented": "worse",
        "real_augmented": "better",
        "both_augmented": "better",
        "made": "worse",
    }
    assert list(against["added"]["arm"]) == ["both_augmented"]
    found = general.verdict({"vol": Finished(config, [])}, {"made"}, summary, {"vol": scores})
    assert found.word == "fail"
    assert [text.partition(":")[2].partition(":")[0] for text in found.sentences] == [
        " “made augmented” scores worse than “real”",
        " “both augmented” scores worse than “real augmented”",
        " “made” scores worse than “real”",
    ]
    kinds = {"made_augmented": "difference", "both_augmented": "added", "made": "difference"}
    assert found.decided_by == [f"vol/{arm}/dice/WT/{kind}" for arm, kind in kinds.items()]


def test_losses_of_every_discriminator_share_a_panel() -> None:
    """Two discriminators are two panels, each with its losses on real and drawn volumes."""
    metrics = ["generator_local", "l1", "real_crop", "fake_crop", "real_local", "fake_local"]
    assert metric_groups(metrics, "l1") == {
        "generator local": ["generator_local"],
        "discriminator crop": ["real_crop", "fake_crop"],
        "discriminator local": ["real_local", "fake_local"],
        "validation: l1": ["l1"],
    }


def test_distances_have_no_negative_interval(tmp_path: Path, real: Dataset) -> None:
    """Widened intervals of distances end at 0, those of shares at 0 and 1."""
    done = evaluation(tmp_path / "vol", real.select("test"), {"real": 0.97})
    rows = chapter.by_part(done.folders)
    rows.loc[rows["metric"] == "hd95_mm/WT", "value"] = [0.0, 0.0, 9.0] * 2
    scores = chapter.scores_of(done.config, rows["metric"])
    table = general.summarise("vol", done.config, rows, scores).set_index("metric")
    assert table.loc["hd95_mm/WT", "low"] == 0
    assert table.loc["hd95_mm/WT", "high"] > 9
