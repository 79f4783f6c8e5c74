"""Privacy: copies that are found, new images that are not, attacks that see members, a gate that says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import ndimage, stats

from conftest import write_dataset
from mirage.config.base import Runtime
from mirage.config.encoders import PixelPcaEncoder
from mirage.config.evaluations import PrivacyEvaluation
from mirage.config.privacy import Gate
from mirage.data import Dataset
from mirage.data.dataset import write_info
from mirage.errors import DataError, LeakError
from mirage.evaluate import privacy, run_set
from mirage.evaluate.features.bank import FeatureBank, write_features
from mirage.evaluate.features.jobs import extract_features, fit_encoder
from mirage.evaluate.privacy import detector
from mirage.evaluate.privacy.attacks import Scores, success
from mirage.evaluate.privacy.gate import gate
from mirage.evaluate.privacy.rows import exact_interval, row
from mirage.evaluate.sides import sides
from mirage.evaluate.statistics import exceedance
from mirage.metrics import neighbours, patterns
from mirage.simulate.cells import draw_mask, simulate_cell

SIDE = 40
TRAINING, HELDOUT, FRESH = 100, 100, 400
Drawn = list[tuple[np.ndarray, np.ndarray]]
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    """Simulated microscopy of one cell each (H, W), and its outline."""
    found = []
    for cell in range(TRAINING + HELDOUT + FRESH):
        image, outline = simulate_cell(5, cell, SIDE, SIDE)
        found.append((image, draw_mask(outline, SIDE, SIDE)))
    return found


def stored(folder: Path, pairs: Drawn, splits: dict[str, int], lineage: list[str] | None = None) -> Dataset:
    """A dataset of given images and masks, in order; a synthetic one where it has a lineage."""
    left = iter(pairs)

    def item(_: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        image, mask = next(left)
        return image[None], mask[None]

    return write_dataset(
        folder,
        item,
        splits=splits,
        shards=1,
        seed=0 if lineage is None else 1,
        origin="simulated" if lineage is None else "synthetic",
        mask_origin="simulated" if lineage is None else "synthetic",
        modality="cells",
        image_shape=(1, *pairs[0][0].shape),
        image_dtype="uint8",
        channel_names=["grey"],
        mask_channels=["label"],
        labels={1: "cell"},
        spacing_mm=None,
        lineage=lineage or [],
    )


@pytest.fixture(scope="module")
def real(drawn: Drawn, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Cells to learn from, and as many held out."""
    folder = tmp_path_factory.mktemp("cells") / "real"
    return stored(folder, drawn, {"train": TRAINING, "test": HELDOUT})


def made(folder: Path, pairs: Drawn, real: Dataset) -> Dataset:
    """A synthetic set that has learnt from the training split."""
    return stored(folder, pairs, {"train": len(pairs)}, sorted(real.select("train").subjects()))


def run(real: Dataset, synthetic: Dataset, out: Path, bank: FeatureBank, **keys: Any) -> dict[str, Any]:
    """Run the evaluation with few resamples and read what it writes."""
    given = {"real": "real", "synthetic": "made", "bootstrap": 100, "encoders": [], **keys}
    config = PrivacyEvaluation.model_validate({"evaluator": "privacy", **given})
    run_set(config, "private", {"real": real, "made": synthetic}, bank, out)
    tables = {path.stem: pd.read_parquet(path) for path in (out / "details").glob("*.parquet")}
    facts = json.loads((out / "details" / "privacy.json").read_text())
    return {"metrics": pd.read_parquet(out / "metrics.parquet"), "facts": facts, **tables}


def value(
    found: dict[str, Any], metric: str, space: str = "image", arm: str = "synthetic", **more: str
) -> Any:
    """The one row of a metric."""
    metrics = found["metrics"]
    keep = (metrics["metric"] == metric) & (metrics["label"] == space) & (metrics["arm"] == arm)
    for column, wanted in {"kind": "absolute", **more}.items():
        keep &= metrics[column] == wanted
    assert keep.sum() == 1, f"{metric} {space} {arm} {more}: {keep.sum()} rows"
    return metrics[keep].iloc[0]


def word(found: dict[str, Any], limit: str, space: str) -> str:
    """What the gate says of a limit."""
    own = found["gate"].query("limit == @limit and space == @space")
    assert len(own) == 1
    return str(own["word"].iloc[0])


def noised(pairs: Drawn) -> Drawn:
    """Turned, darker or brighter, and noised images, with their masks."""
    changed = []
    for number, (image, mask) in enumerate(pairs):
        rng, turn = np.random.default_rng(number), 1 + number % 7
        image = neighbours.orient(image[None], turn)[0] * rng.uniform(0.75, 1.2) + rng.normal(
            0, 12, image.shape
        )
        changed.append(
            (np.clip(image, 0, 255).astype(np.uint8), neighbours.orient(mask[None], turn)[0].copy())
        )
    return changed


def test_a_fresh_sample_of_the_same_simulator_passes(drawn: Drawn, real: Dataset, tmp_path: Path) -> None:
    """New cells are no copies, betray nobody, and what is injected among them is found."""
    fresh = drawn[TRAINING + HELDOUT :]
    found = run(real, made(tmp_path / "made", fresh, real), tmp_path / "out", FeatureBank())
    for share, least in (("0.01", 0.9), ("0.05", 0.9), ("0.2", 0.9)):
        recall = value(found, "recall", arm="control", protocol=f"injected_{share}")
        assert recall["value"] >= least
        assert recall["low"] < recall["value"] or recall["value"] == recall["high"]
        assert value(found, "named", arm="control", protocol=f"injected_{share}")["value"] > 0.95
    assert recall["low"] > 0.9
    assert value(found, "flagged", arm="reference")["low"] <= 0.05
    assert value(found, "flagged")["low"] <= 0.05
    assert value(found, "exact_copies")["value"] == 0
    assert value(found, "dcr_share")["low"] < 0.5 < value(found, "dcr_share")["high"]
    assert abs(value(found, "c_t")["value"]) < 3
    assert 0.9 < value(found, "nearest", kind="ratio")["value"] < 1.1
    for attack in ("distance", "calibrated", "members_only", "no_synthetic"):
        arm = "reference" if attack in ("members_only", "no_synthetic") else "synthetic"
        row = value(found, "auc", arm=arm, protocol=attack)
        assert row["low"] < 0.55, attack
    assert "fail" not in set(found["gate"]["word"])
    assert found["facts"]["gate"] != "fail"
    assert word(found, "nearer to training", "image") == "silent"
    assert word(found, "near copies", "image") == "pass"
    assert value(found, "nearest", kind="ratio")["low"] > 0.8
    filtered = found["filtered"].query("space == 'image' and reason == 'flagged_copy'")
    assert len(filtered) == round(value(found, "flagged")["value"] * FRESH)


def test_held_out_images_are_not_flagged(drawn: Drawn, real: Dataset, tmp_path: Path) -> None:
    """Real images that no generator has seen, handed in as the synthetic set, are not called copies."""
    others = drawn[TRAINING + HELDOUT : TRAINING + HELDOUT + 100]
    found = run(real, made(tmp_path / "made", others, real), tmp_path / "out", FeatureBank())
    assert value(found, "flagged")["value"] <= 0.1
    assert found["facts"]["gate"] != "fail"
    assert value(found, "exact_duplicates")["value"] == 0


@pytest.mark.parametrize("change", [list, noised])
def test_a_copied_training_set_fails_the_gate(
    drawn: Drawn, real: Dataset, tmp_path: Path, change: Callable[[Drawn], Drawn]
) -> None:
    """Whether as they are, or turned, lit otherwise and noised: copies break the gate and betray members."""
    found = run(
        real, made(tmp_path / "made", change(drawn[:TRAINING]), real), tmp_path / "out", FeatureBank()
    )
    assert found["facts"]["gate"] == "fail"
    assert value(found, "flagged")["value"] >= 0.9
    assert word(found, "copies flagged", "image") == "fail"
    assert word(found, "near copies", "image") == "fail"
    assert word(found, "membership attack: distance", "image") == "fail"
    assert word(found, "reidentified masks", "mask") == "fail"
    assert word(found, "nearer to training", "image") == "fail"
    assert value(found, "auc", protocol="calibrated")["low"] > 0.55
    assert value(found, "tpr_at_fpr_1", protocol="distance")["value"] > 0.5
    assert value(found, "memorised")["value"] >= 0.9
    assert value(found, "c_t")["value"] < -5
    assert value(found, "reidentified", "mask")["value"] == 1
    assert value(found, "reidentified", "mask", "reference")["value"] < 0.1
    exact = change is list
    assert value(found, "exact_copies")["value"] == exact
    listed = set(found["filtered"].query("space == 'image'")["reason"])
    assert {"flagged_copy"} | ({"exact_copy"} if exact else set()) <= listed
    named = found["filtered"].query("reason == 'flagged_copy' and space == 'image'")
    assert (named["item_id"] == named["neighbour"]).mean() > 0.95


def test_few_copies_among_many_new_items_are_listed(drawn: Drawn, real: Dataset, tmp_path: Path) -> None:
    """Five noised copies among 200 items break no limit of a share, but stand in the list by name."""
    fresh, few = drawn[TRAINING + HELDOUT : TRAINING + HELDOUT + 195], noised(drawn[:5])
    found = run(real, made(tmp_path / "made", [*few, *fresh], real), tmp_path / "out", FeatureBank())
    listed = found["filtered"].query("reason == 'flagged_copy' and space == 'image'").set_index("item_id")
    for number in range(5):
        assert listed.loc[f"train_{number}", "neighbour"] == f"train_{number}"


def test_features_are_searched_and_attacked_too(drawn: Drawn, real: Dataset, tmp_path: Path) -> None:
    """An encoder's space has distances, attacks with a density ratio, and a likelihood; copies stand out."""
    synthetic = made(tmp_path / "made", drawn[: TRAINING // 2], real)
    paths = []
    for name, data in (("real", real), ("made", synthetic)):
        small = [neighbours.shrink(data.image(i), 4).ravel() for i in range(len(data))]
        paths.append(tmp_path / "features" / "tiny" / f"{name}.parquet")
        info = {"encoder": "tiny", "options": {}, "version": 1, "protocol": {}, "fitted_on": {}}
        write_features(paths[-1], data, np.stack(small), [f"f{i}" for i in range(16)], info)
    found = run(real, synthetic, tmp_path / "out", FeatureBank(paths), encoders=["tiny"], compare="image")
    assert value(found, "nearest", "tiny")["value"] == pytest.approx(0, abs=1e-6)
    assert value(found, "auc", "tiny", protocol="domias")["value"] > 0.6
    assert value(found, "fld_gap", "tiny")["value"] < 0
    assert value(found, "authenticity", "tiny")["value"] == 0
    assert set(found["roc"]["space"]) == {"image", "tiny"}
    assert found["metrics"].query("label == 'tiny' and metric == 'exact_copies'").empty


def test_a_detector_in_features_is_put_to_the_test_too(drawn: Drawn, real: Dataset, tmp_path: Path) -> None:
    """The encoder is applied to the injected copies; one that turning and light mislead has no say."""
    synthetic = made(tmp_path / "made", drawn[-60:], real)
    encoder, features = tmp_path / "encoders" / "pixpca", tmp_path / "features" / "pixpca"
    entry, runtime = PixelPcaEncoder(encoder="pixpca"), Runtime()
    fit_encoder(entry, real.folder, encoder, features / "real.parquet", runtime=runtime)
    extract_features(encoder, synthetic.folder, features / "made.parquet", runtime=runtime)
    bank = FeatureBank(features.glob("*.parquet"), [encoder / "encoder.json"])
    found = run(real, synthetic, tmp_path / "out", bank, encoders=["pixpca"], compare="image")
    recall = value(found, "recall", "pixpca", "control", protocol="injected_0.2")
    assert recall["n_items"] == 12
    assert recall["value"] < 0.9
    judged = found["gate"].query("limit == 'copies flagged'")
    assert judged["space"].tolist() == ["image"]


def test_a_leak_of_a_few_members_fails_whatever_the_area() -> None:
    """Members that are told at 1 % false positives, more of them than without the synthetic set."""
    measure = "tpr_at_fpr_1"
    control = row("reference", measure, "image", "no_synthetic", 0.005, exact_interval(2, 400), 800, 400)
    for found, expected in ((26, "fail"), (5, "silent")):
        told = row("synthetic", measure, "image", "domias", found / 400, exact_interval(found, 400), 800, 400)
        area = row("synthetic", "auc", "image", "domias", 0.52, (0.48, 0.56), 800, 800)
        limits = gate([control, told, area], Gate()).set_index("limit")["word"]
        assert limits["members told surely: domias"] == expected
        assert limits["membership attack: domias"] == "pass"


def test_a_control_that_could_not_be_measured_limits_nothing() -> None:
    """With few held-out patients it has no rate at 1 % false positives: no members are surely told."""
    measure = "tpr_at_fpr_1"
    control = row("reference", measure, "image", "no_synthetic", np.nan, (np.nan, np.nan), 450, 400)
    told = row("synthetic", measure, "image", "distance", 0.05, exact_interval(20, 400), 500, 400)
    limits = gate([control, told], Gate()).set_index("limit")["word"]
    assert limits["members told surely: distance"] == "silent"


@pytest.mark.parametrize(
    ("control", "gain", "expected"),
    [
        ((0.70, 0.545, 0.83), (0.0, -0.1, 0.1), "inconclusive"),
        ((0.5, 0.42, 0.58), (0.2, 0.1, 0.3), "fail"),
        ((0.7, 0.6, 0.79), (0.0, -0.1, 0.1), "silent"),
        ((0.7, 0.6, 0.79), (0.2, 0.15, 0.25), "fail"),
        ((0.2, 0.15, 0.26), (0.5, 0.4, 0.6), "silent"),
    ],
)
def test_attacks_fail_only_beyond_what_the_split_tells(
    control: tuple[float, float, float], gain: tuple[float, float, float], expected: str
) -> None:
    """Also where the control itself is not significant: the synthetic set is not to blame for the split."""
    rows = [
        row(arm, metric, "image", protocol, value, (low, high), 80, 80)
        for arm, metric, protocol, (value, low, high) in (
            ("synthetic", "auc", "distance", (0.70, 0.60, 0.79)),
            ("synthetic", "auc_gain", "distance", gain),
            ("reference", "auc", "no_synthetic", control),
        )
    ]
    limits = gate(rows, Gate()).set_index("limit")["word"]
    assert limits["membership attack: distance"] == expected


def pictures(seed: int, *counts: int, side: int = 24) -> list[Drawn]:
    """Sets of smooth random fields with noise, of random brightness, and the masks of their bright half."""
    rng = np.random.default_rng(seed)
    coarse = rng.standard_normal((sum(counts), 6, 6))
    fields = 30 * ndimage.zoom(coarse, (1, side / 6, side / 6), order=3)
    grey = rng.normal(128, 15, (len(fields), 1, 1)) + fields + rng.normal(0, 5, fields.shape)
    pairs = list(zip(np.clip(grey, 0, 255).astype(np.uint8), (fields > 0).astype(np.uint8), strict=True))
    ends = np.cumsum(counts)
    return [pairs[end - count : end] for count, end in zip(counts, ends, strict=True)]


def test_with_several_hundred_images_the_gate_settles(tmp_path: Path) -> None:
    """400 training, 400 held-out and 1,000 synthetic items: new ones pass, copies fail, few are counted."""
    training, heldout, fresh = pictures(2, 400, 400, 1000)
    real = stored(tmp_path / "real", [*training, *heldout], {"train": 400, "test": 400})
    few, copies = noised(training[:100]), noised(training)
    words = {}
    for name, pairs in (("fresh", fresh), ("few", [*few, *fresh[100:]]), ("copies", copies)):
        judged = made(tmp_path / f"made_{name}", pairs, real)
        found = run(real, judged, tmp_path / name, FeatureBank(), compare="image")
        words[name] = found["facts"]["gate"]
        excess = value(found, "excess")
        if name == "fresh":
            assert set(found["gate"]["word"]) == {"pass", "silent"}, found["gate"]
            assert excess["low"] < 0 < excess["high"] < 0.05
        if name == "few":
            assert 0 < excess["low"] < 0.095 < excess["high"]
            assert word(found, "copies flagged", "image") == "fail"
            named = found["filtered"].query("reason == 'flagged_copy'")
            assert {f"train_{number}" for number in range(100)} <= set(named["item_id"])
    assert words == {"fresh": "pass", "few": "fail", "copies": "fail"}


def test_what_is_scored_is_counted_as_items_and_as_patients(drawn: Drawn, tmp_path: Path) -> None:
    """An attack with two images a patient: items are images, subjects are patients."""
    real = stored(tmp_path / "real", drawn[:80], {"train": 40, "test": 40})
    table = pd.read_parquet(real.folder / "manifest.parquet")
    table["subject_id"] = table["subject_id"].str.replace(
        r"\d+", lambda found: str(int(found[0]) // 2), regex=True
    )
    pq.write_table(
        pa.Table.from_pandas(table, schema=pq.read_schema(real.folder / "manifest.parquet")),
        real.folder / "manifest.parquet",
    )
    real = Dataset(real.folder)
    found = run(real, made(tmp_path / "made", drawn[-30:], real), tmp_path / "out", FeatureBank())
    for protocol in ("distance", "calibrated"):
        attacked = value(found, "auc", protocol=protocol)
        assert (attacked["n_items"], attacked["n_subjects"]) == (80, 40)
    gain = value(found, "auc_gain", protocol="calibrated")
    areas = [
        value(found, "auc", arm=arm, protocol=protocol)["value"]
        for arm, protocol in (("synthetic", "calibrated"), ("reference", "no_synthetic"))
    ]
    assert gain["value"] == pytest.approx(areas[0] - areas[1])
    assert gain["low"] < gain["value"] < gain["high"]


def shares(
    metric: str, made: tuple[int, int], held: tuple[int, int], space: str = "image"
) -> list[dict[str, Any]]:
    """Rows of a share of synthetic and of held-out items."""
    return [
        row(arm, metric, space, "nearest", hits / total, exact_interval(hits, total), total, total)
        for arm, (hits, total) in (("synthetic", made), ("reference", held))
    ]


def test_flagged_copies_are_limited_beyond_what_is_expected_of_new_items() -> None:
    """The excess and its exact interval decide; without held-out items there is none, and nothing passes."""
    recall = row("control", "recall", "image", "injected_0.2", 1.0, (0.9, 1.0), 80, 81)
    bound = row("reference", "rate_bound", "image", "detector", 0.1, (np.nan, np.nan), 400, 400)

    def judged(hits: int, limit: float = 0.05, *, heldout: bool = True) -> Any:
        beyond = exceedance(hits, 1000, 20, 400)
        rows = [recall, bound, shares("flagged", (hits, 1000), (20, 400))[0]]
        if heldout:
            ends = beyond.low, beyond.high
            rows.append(row("synthetic", "excess", "image", "detector", beyond.estimate, ends, 1000, 1000))
        return gate(rows, Gate(flagged=limit)).set_index("limit").loc["copies flagged"]

    for hits, limit, expected in ((50, 0.05, "pass"), (90, 0.05, "inconclusive"), (200, 0.05, "fail")):
        assert judged(hits, limit)["word"] == expected, hits
    assert judged(200, 0.3)["word"] == "pass"
    assert "0.200 of synthetic items, 0.050 expected of new ones" in judged(200)["reason"]
    assert judged(50, heldout=False)["word"] == "inconclusive"
    assert "no held-out items" in judged(50, heldout=False)["reason"]


def test_near_copies_are_limited_beside_those_of_held_out_items() -> None:
    """Not the share itself is limited, but what of it held-out items do not explain; the limit is "
    "configurable."""
    recall = row("control", "recall", "image", "injected_0.2", 1.0, (0.9, 1.0), 80, 81)
    bound = row("reference", "rate_bound", "image", "detector", 0.1, (np.nan, np.nan), 400, 400)
    name, key, metric = "near copies", "near_copies", "near_copies"

    def judged(made: int, held: int, limit: float = 0.05) -> Any:
        rows = [recall, bound, *shares(metric, (made, 1000), (held, 1000))]
        return gate(rows, Gate.model_validate({key: limit})).set_index("limit").loc[name]

    for made, held, limit, expected in (
        (150, 20, 0.05, "fail"),
        (150, 150, 0.05, "pass"),
        (60, 20, 0.05, "inconclusive"),
        (150, 20, 0.3, "pass"),
    ):
        assert judged(made, held, limit)["word"] == expected, (made, held, limit)
    found = judged(150, 20)
    assert found["value"] == pytest.approx(0.13)
    assert 0.1 < found["low"] < 0.13 < found["high"] < 0.16
    assert "0.150 [0.128, 0.174] of synthetic and 0.020 [" in found["reason"]
    alone = (
        gate([recall, bound, shares(metric, (150, 1000), (20, 1000))[0]], Gate()).set_index("limit").loc[name]
    )
    assert alone["word"] == "fail"
    assert "no held-out items" in alone["reason"]


def test_many_limits_are_tested_together() -> None:
    """A p of 2 % breaks a limit that is alone, and none of six; a clear leak among six still does."""

    def area(name: str, low: float) -> dict[str, Any]:
        return row("synthetic", "auc", "image", name, 0.6, (low, 0.7), 400, 400)

    def tested(*lows: float) -> pd.DataFrame:
        found = gate([area(str(place), low) for place, low in enumerate(lows)], Gate())
        return found.dropna(subset="p")

    assert tested(0.551)["word"].tolist() == ["fail"]
    several = tested(*[0.551] * 6)
    assert set(several["word"]) == {"inconclusive"}
    assert several["p"].min() == pytest.approx(6 * stats.norm.sf(0.05 / 0.049 * stats.norm.isf(0.025)))
    assert tested(0.58, *[0.45] * 5)["word"].tolist() == ["fail", *["inconclusive"] * 5]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_gates_recall_is_that_of_most_copies(order: tuple[int, int]) -> None:
    """One copy of one that is found, or none, says nothing; the order of the shares says nothing either."""
    recalls = [
        row("control", "recall", "image", f"injected_{share}", found, (0.0, 1.0), count, count + 1)
        for share, count, found in ((0.01, 1, 1.0), (0.2, 80, 0.5))
    ]
    rows = [*(recalls[place] for place in order), *shares("flagged", (0, 100), (0, 100))]
    found = gate(rows, Gate()).set_index("limit").loc["copies flagged"]
    assert found["word"] == "inconclusive"
    assert "at best 0.50" in found["reason"]


def test_a_large_set_is_searched_in_part_and_its_exact_copies_wholly(
    drawn: Drawn, real: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten of 40 items are searched by distance, which is told; the copy and what is injected are found."""
    monkeypatch.setattr(privacy, "MAX_ITEMS", 10)
    fresh = [*drawn[-39:], drawn[3]]
    found = run(real, made(tmp_path / "made", fresh, real), tmp_path / "out", FeatureBank(), compare="image")
    copied = value(found, "exact_copies")
    assert (copied["value"], copied["n_items"]) == (1 / 40, 40)
    assert value(found, "exact_copies", arm="reference")["n_items"] == HELDOUT
    assert word(found, "exact copies", "image") == "fail"
    assert found["filtered"].query("reason == 'exact_copy'")["neighbour"].tolist() == ["train_3"]
    assert found["facts"]["spaces"]["image"]["searched"]["synthetic"] == {"searched": 10, "of": 40}
    assert value(found, "near_copies")["n_items"] == 10
    assert value(found, "recall", arm="control", protocol="injected_0.2")["n_items"] == 2
    assert found["facts"]["items"]["copies"] == {"searched": 2, "of": 2}


def test_oblong_images_are_searched_too(drawn: Drawn, tmp_path: Path) -> None:
    """A mirrored training image is an exact copy, and injected copies keep their shape."""
    oblong = [(image[:30], mask[:30]) for image, mask in drawn[:60]]
    real = stored(tmp_path / "real", oblong, {"train": 30, "test": 30})
    mirrored = [(image[:, ::-1].copy(), mask[:, ::-1].copy()) for image, mask in oblong[:20]]
    found = run(real, made(tmp_path / "made", mirrored, real), tmp_path / "out", FeatureBank())
    assert value(found, "exact_copies")["value"] == 1
    assert value(found, "exact_copies", arm="reference")["value"] == 0
    assert value(found, "nearest")["value"] == pytest.approx(0, abs=1e-3)
    assert value(found, "named", arm="control", protocol="injected_0.2")["value"] == 1


def blanked(pairs: Drawn, count: int) -> Drawn:
    """The first few pairs without an image and a mask."""
    return [(image * (place >= count), mask * (place >= count)) for place, (image, mask) in enumerate(pairs)]


def test_blank_items_are_nobodys_copies(drawn: Drawn, tmp_path: Path) -> None:
    """Empty masks and images of one value are counted by themselves; a true copy among them is found."""
    real = stored(
        tmp_path / "real", [*blanked(drawn[:20], 5), *blanked(drawn[20:40], 5)], {"train": 20, "test": 20}
    )
    fresh = [*blanked(drawn[-20:], 10), drawn[7]]
    found = run(real, made(tmp_path / "made", fresh, real), tmp_path / "out", FeatureBank())
    for space in ("image", "mask"):
        assert value(found, "blank", space)["value"] == 10 / 21
        assert value(found, "blank", space, "reference")["value"] == 5 / 20
        copied = value(found, "exact_copies", space)
        assert (copied["value"], copied["n_items"]) == (1 / 11, 11)
        assert value(found, "exact_copies", space, "reference")["value"] == 0
        assert value(found, "exact_duplicates", space)["value"] == 0
        assert value(found, "near_copies", space)["n_items"] == 11
        assert found["facts"]["spaces"][space]["searched"]["heldout"] == {"searched": 15, "of": 15}
    assert value(found, "near_duplicates")["value"] == 0
    assert value(found, "recall", arm="control", protocol="injected_0.2")["value"] == 1
    assert value(found, "reidentified", "mask")["n_items"] == 11
    assert value(found, "reidentified", "mask", "reference")["value"] == 0
    assert found["filtered"].query("reason == 'exact_copy'")["neighbour"].tolist() == ["train_7"] * 2


def test_a_set_of_blank_items_passes_nothing(drawn: Drawn, tmp_path: Path) -> None:
    """Where there is nothing to compare no limit is kept; masks alone are then refused."""
    real = stored(tmp_path / "real", drawn[:20], {"train": 10, "test": 10})
    blank = made(tmp_path / "made", blanked(drawn[-8:], 8), real)
    found = run(real, blank, tmp_path / "out", FeatureBank())
    assert set(found["metrics"]["label"].dropna()) == {"image"}
    assert value(found, "blank")["value"] == 1
    assert word(found, "exact copies", "image") == "inconclusive"
    assert word(found, "duplicates", "image") == "inconclusive"
    with pytest.raises(DataError, match="more than blank ones"):
        run(real, blank, tmp_path / "masks", FeatureBank(), compare="mask")


@pytest.mark.parametrize("blank", [0, 3])
def test_only_blank_images_may_be_in_both_real_sets(drawn: Drawn, tmp_path: Path, blank: int) -> None:
    """Slices of one value are alike whoever they are of; any other image that was learnt is not held out."""
    pairs = blanked(drawn[:3], blank)
    real = stored(tmp_path / "real", [*pairs, *drawn[3:6]], {"train": 6})
    held = stored(tmp_path / "held", [*pairs, *drawn[6:9]], {"test": 6})
    named = {"real": real, "held": held, "made": made(tmp_path / "made", drawn[9:12], real)}
    config = PrivacyEvaluation(evaluator="privacy", real="real", heldout="held", synthetic="made")
    if blank:
        assert len(sides(config, named).heldout or ()) == 6
    else:
        with pytest.raises(LeakError, match="3 of 6 held-out images have the same pixels"):
            sides(config, named)


def test_repetitions_within_the_set_are_counted(drawn: Drawn, real: Dataset, tmp_path: Path) -> None:
    """A mode that is drawn again and again fails the gate though it is nobody's copy."""
    fresh = drawn[TRAINING + HELDOUT : TRAINING + HELDOUT + 20]
    found = run(real, made(tmp_path / "made", fresh * 3, real), tmp_path / "out", FeatureBank())
    assert value(found, "distinct")["value"] == 20
    assert value(found, "exact_duplicates")["value"] == pytest.approx(2 / 3)
    assert word(found, "duplicates", "image") == "fail"


def test_without_held_out_images_nothing_passes(drawn: Drawn, tmp_path: Path) -> None:
    """Copies are sought by the distances of training items; attacks are not measured, and that is said."""
    alone = stored(tmp_path / "real", drawn, {"train": TRAINING})
    fresh = made(tmp_path / "made", drawn[TRAINING + HELDOUT :][:60], alone)
    found = run(alone, fresh, tmp_path / "out", FeatureBank())
    assert found["facts"]["gate"] == "inconclusive"
    assert "no held-out subjects" in " ".join(found["gate"]["reason"])
    assert value(found, "recall", arm="control", protocol="injected_0.2")["value"] >= 0.9
    assert found["roc"].empty


def test_only_subjects_that_were_learnt_from_are_members(drawn: Drawn, real: Dataset, tmp_path: Path) -> None:
    """A generator of half of the patients can copy only those; the others are not searched."""
    some = sorted(real.select("train").subjects())[:40]
    synthetic = stored(tmp_path / "made", drawn[-30:], {"train": 30}, some)
    found = run(real, synthetic, tmp_path / "out", FeatureBank())
    assert found["facts"]["items"]["training"] == {"searched": 40, "of": 40}
    assert {f"{real.info.namespace}/{name}" for name in found["neighbours"]["neighbour_subject_id"]} <= set(
        some
    )


@pytest.mark.parametrize("split", ["train", "test"])
def test_sets_from_other_data_or_held_out_subjects_are_refused(
    drawn: Drawn, real: Dataset, tmp_path: Path, split: str
) -> None:
    """Copies cannot be sought where no generator has looked, nor newness measured by what one has seen."""
    synthetic = made(tmp_path / "made", drawn[-5:], real)
    lineage = [] if split == "train" else [*synthetic.info.lineage, *real.select("test").subjects()]
    write_info(synthetic.folder, synthetic.info.model_copy(update={"lineage": lineage}))
    error, message = (
        (DataError, "none of the training") if split == "train" else (LeakError, "held-out subjects")
    )
    with pytest.raises(error, match=message):
        run(real, Dataset(synthetic.folder), tmp_path / "out", FeatureBank())


def test_volumes_are_searched_over_their_flips(toy_volumes: Any, tmp_path: Path) -> None:
    """A mirrored training volume is an exact copy, and its brain names the patient."""
    real = toy_volumes("real", splits={"train": 6, "test": 5}, extent=(16, 20, 18))
    made = toy_volumes("made", splits={"train": 6}, extent=(16, 20, 18), origin="synthetic")
    write_info(made.folder, made.info.model_copy(update={"lineage": sorted(real.select("train").subjects())}))
    found = run(real, Dataset(made.folder), tmp_path / "out", FeatureBank())
    assert set(found["metrics"]["label"]) == {"image", "mask", "brain"}
    assert value(found, "exact_copies")["value"] == 1
    assert value(found, "reidentified", "mask")["value"] == 1
    assert value(found, "reidentified", "brain", "reference")["value"] == 1  # all toy brains are one egg
    volume = real.image(0)
    turned = [neighbours.flip(volume, orientation) for orientation in range(8)]
    assert len({array.tobytes() for array in turned}) == 8
    assert len({neighbours.canonical_hash(np.ascontiguousarray(array)) for array in turned}) == 1


def test_brightness_and_contrast_do_not_change_a_pattern() -> None:
    """What all images share is taken out; a darker copy is at distance 0, a constant image nowhere."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(2, 8, 8))
    shared = np.mean(neighbours.views(shared), axis=0) * 5
    images = [(shared + rng.normal(size=shared.shape)).astype(np.float32) for _ in range(40)]
    common = patterns.template(images)
    first, darker, other = (
        patterns.pattern(image, common) for image in (images[0], images[0] * 0.4 - 3, images[1])
    )
    assert np.sqrt(np.mean((first - darker) ** 2)) < 1e-3
    assert np.sqrt(np.mean((first - other) ** 2)) > 1
    assert abs((first * common).mean()) < 1e-4
    assert np.square(first).mean() == pytest.approx(1, abs=1e-4)
    assert not patterns.pattern(np.full((2, 8, 8), 7, np.float32), common).any()
    assert patterns.similarity(np.array([0.0, np.sqrt(2)])) == pytest.approx([1, 0])


def test_threshold_keeps_its_rate_on_new_items() -> None:
    """At most 5 % of new draws undercut it on average, from 19 references on."""
    rng = np.random.default_rng(1)
    for count in (19, 60, 200):
        reference = rng.random((2000, count))
        found = [detector.thresholds(own, np.ones((1, count)), 0.05)[0] for own in reference]
        assert 0.02 < np.mean(found) <= 0.052


def test_the_second_neighbour_is_of_another_subject() -> None:
    """Two images of one patient do not hide that the patient stands out, whatever their order and block."""
    rng = np.random.default_rng(3)
    references = rng.normal(size=(70, 12)).astype(np.float32)
    groups = rng.integers(0, 9, 70)
    queries = rng.normal(size=(20, 12)).astype(np.float32)
    found = neighbours.nearest(queries, iter(references), "rms", groups=groups)
    table = np.sqrt(((queries[:, None].astype(float) - references[None]) ** 2).mean(axis=2))
    for place, distances in enumerate(table):
        first = distances.argmin()
        assert found.index[place] == first
        others = distances[groups != groups[first]]
        assert found.second_distance[place] == pytest.approx(others.min())
    assert np.allclose(neighbours.pairwise(queries, iter(references), "rms"), table, atol=1e-3)


def test_a_threshold_of_few_non_members_is_no_leak_of_many_members() -> None:
    """Of scores that are alike, the lower end exceeds 1 % in about 2.5 % of experiments; a leak stays."""
    rng = np.random.default_rng(0)
    lows = []
    for _ in range(100):
        scores = Scores.alone(rng.normal(size=2000), rng.normal(size=100), 2100)
        lows.append(success("synthetic", "image", "distance", scores)[1]["low"])
    assert np.mean(np.array(lows) > 0.01) < 0.08
    told = Scores.alone(rng.normal(size=2000) + 3, rng.normal(size=100), 2100)
    found = success("synthetic", "image", "distance", told)[1]
    assert 0.2 < found["low"] < found["value"] <= found["high"]
