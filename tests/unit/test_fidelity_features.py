"""Fidelity in feature spaces: known answers, references, refusals, odd sets, volumes, and verdicts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from feature_tables import bank_of
from scipy import stats
from test_fidelity import facts, learnt, made_from, run, value

from mirage.config.evaluations import FidelityEvaluation
from mirage.data import Dataset
from mirage.data.dataset import write_info
from mirage.errors import DataError
from mirage.evaluate import fidelity
from mirage.evaluate.fidelity.draws import Patients, around, plan
from mirage.evaluate.fidelity.measures import (
    Frechet,
    FrechetInfinity,
    Kernel,
    Neighbourhoods,
    SlicedWasserstein,
)
from mirage.evaluate.fidelity.rows import measured
from mirage.evaluate.fidelity.separability import separability
from mirage.evaluate.fidelity.single_features import single_features
from mirage.metrics.distances import frechet_distance
from mirage.metrics.kernels import kernel_distance
from mirage.metrics.manifold import prdc
from mirage.metrics.points import PrincipalAxes
from mirage.report.evaluators.fidelity_verdicts import FIDELITY, axis_verdict, decide, vote
from mirage.report.summary import COLUMNS

ENCODERS = ("pixpca", "randconv")
SPLITS = {"train": 24, "test": 24}
OF_SETS = {"kid", "sliced_wasserstein", "precision", "recall", "density", "coverage", "vendi"}


def names(*counts: int) -> Patients:
    """Patients with one item each."""
    return Patients.of(*(np.arange(count) for count in counts))


def points(seed: int, *counts: int, dimensions: int = 6) -> np.ndarray:
    """Features of all sides from one normal distribution."""
    return np.random.default_rng(seed).standard_normal((sum(counts), dimensions)).astype(np.float32)


def test_measures_are_the_published_formulae() -> None:
    """What is read off cached products and distances is what the plain functions give."""
    values = points(0, 40, 30)
    base, other = np.arange(40), np.arange(40, 70)
    real, made = values[base], values[other]
    (found,) = Kernel(values)(base, [other])
    assert found["kid"] == pytest.approx(kernel_distance(real, made), abs=1e-6)
    (found,) = Neighbourhoods(values, 5)(base, [other])
    expected = prdc(real, made, 5)
    for name in ("precision", "recall", "density", "coverage"):
        assert found[name] == pytest.approx(getattr(expected, name))
    (found,) = Frechet(values, base, 30)(base, [other])
    assert found["frechet"] == pytest.approx(frechet_distance(real, made))
    (found,) = Frechet(values, base, 5)(base, [other])
    axes = PrincipalAxes(real, 1)
    assert found["frechet_pca"] == pytest.approx(frechet_distance(axes(real), axes(made)))
    line = points(3, 40, 30, dimensions=1)
    (found,) = SlicedWasserstein(line, 0)(base, [other])
    places = (np.arange(64) + 0.5) / 64
    gap = [np.quantile(line[side, 0], places, method="hazen") for side in (base, other)]
    assert found["sliced_wasserstein"] == pytest.approx(np.sqrt(np.mean((gap[0] - gap[1]) ** 2)))


def test_sets_are_matched_by_whole_patients() -> None:
    """Both sets of a draw are equally large; patients enter whole but for the last; halves are disjoint."""
    training = np.repeat(np.arange(6), 2)
    patients = Patients.of(training, np.repeat(np.arange(5), 3), np.arange(9))
    drawn = plan(patients, 8, 0)
    assert drawn is not None
    assert (drawn.protocol, drawn.count, drawn.subjects) == ("heldout", 9, (9, 5))
    for draw in drawn.equal:
        assert len(draw.reference) == len(draw.judged) == 9
        assert len(np.unique(patients.numbers[draw.reference])) == 3
        assert draw.base.tolist() == list(range(12))
    for draw in drawn.halves:
        assert (len(draw.base), len(draw.reference), len(draw.judged)) == (6, 4, 4)
        assert len(np.unique(training[draw.base])) == 3
    alone = plan(Patients.of(training, np.empty(0), np.arange(9)), 8, 0)
    assert alone is not None
    assert alone.protocol == "halves"
    for draw in (*alone.equal, *alone.halves):
        assert not set(training[draw.base]) & set(training[draw.reference])
        assert len(draw.reference) == len(draw.judged)


@pytest.mark.parametrize("counts", [(40, 40, 20), (40, 20, 20), (40, 20, 60), (40, 0, 8)])
def test_intervals_have_a_spread_whatever_the_numbers(counts: tuple[int, int, int]) -> None:
    """Also where all synthetic items are needed to match the held-out ones."""
    drawn = plan(names(*counts), 60, 0)
    assert drawn is not None
    rows = pd.DataFrame(measured(SlicedWasserstein(points(1, *counts), 0), drawn, "x", {}))
    assert (rows["low"] < rows["value"]).all()
    assert (rows["value"] < rows["high"]).all()
    assert rows["n_items"].eq(drawn.count).all()


def test_few_training_patients_give_no_interval_and_no_ratio() -> None:
    """Two patients of 60 images are two, however many others there are beside them."""
    patients = Patients.of(np.repeat(np.arange(2), 60), np.arange(40), np.arange(40))
    drawn = plan(patients, 60, 0)
    assert drawn is not None
    assert (drawn.base_subjects, drawn.fewest) == (2, 2)
    absent: dict[str, str] = {}
    rows = pd.DataFrame(measured(SlicedWasserstein(points(1, 120, 40, 40), 0), drawn, "x", absent))
    assert rows[["low", "high"]].isna().all(axis=None)
    assert rows["kind"].tolist() == ["absolute", "absolute"]
    assert absent == {"ratio of sliced_wasserstein": "2 patients a side are too few, 4 are needed"}


def test_half_samples_are_as_wide_as_the_truth() -> None:
    """The interval of a mean from half samples is that of Student."""
    rng = np.random.default_rng(0)
    values = rng.normal(5, 1, 60)
    halves = np.array([values[rng.permutation(60)[:30]].mean() for _ in range(2000)])
    low, high = around(values.mean(), halves, 60, log=False)
    expected = stats.t.ppf(0.975, 59) * values.std(ddof=1) / np.sqrt(60)
    assert high - low == pytest.approx(2 * expected, rel=0.1)


def test_ratio_of_one_kind_is_one_and_its_interval_says_so() -> None:
    """Over many pairs of sets of one distribution, nearly all intervals of ratios hold 1."""
    held = []
    for seed in range(40):
        drawn = plan(names(60, 60, 60), 60, seed)
        assert drawn is not None
        values = points(seed, 60, 60, 60)
        for measure in (Frechet(values, np.arange(60), 60), Kernel(values)):
            (ratio,) = (row for row in measured(measure, drawn, "x", {}) if row["kind"] == "ratio")
            held.append(ratio["low"] < 1 < ratio["high"])
    assert 0.9 < np.mean(held) <= 1


def test_what_numbers_do_not_allow_is_refused_with_a_reason() -> None:
    """Extrapolation needs as many items as features, and neighbours more items than k."""
    values, absent = points(0, 20, 20, 20, dimensions=30), dict[str, str]()
    drawn = plan(names(20, 20, 20), 20, 0)
    assert drawn is not None
    assert measured(FrechetInfinity(values, 0), drawn, "x", absent) == []
    assert "20 items" in absent["frechet_infinity"]
    few = plan(names(5, 5, 5), 20, 0)
    assert few is not None
    assert measured(Neighbourhoods(values[:15], 5), few, "x", absent) == []
    assert {"precision", "coverage"} <= absent.keys()
    assert separability(values[:15], names(5, 5, 5).numbers, few, "x", 20, 0, absent) == []
    assert "at least 10" in absent["c2st"]
    alone = plan(names(40, 0, 20), 20, 0)
    assert alone is not None
    assert separability(values, names(40, 0, 20).numbers, alone, "x", 20, 0, absent) == []
    assert "nothing is held out" in absent["c2st"]
    assert plan(Patients.of(np.zeros(4), np.empty(0), np.arange(4)), 20, 0) is None


def test_a_fresh_sample_is_not_told_apart_though_training_items_are() -> None:
    """As an encoder does that was fitted on training items: these lie elsewhere than all that is new."""
    values = points(4, 60, 60, 60)
    values[:60, 0] += 4
    drawn = plan(names(60, 60, 60), 60, 0)
    assert drawn is not None
    rows = separability(values, names(60, 60, 60).numbers, drawn, "x", 60, 0, {})
    found = {(row["arm"], row["kind"]): row["value"] for row in rows}
    assert found["synthetic", "absolute"] < 0.7
    assert found["reference", "absolute"] > 0.95
    assert found["synthetic", "difference"] < -0.2


def test_single_features_that_differ_are_found() -> None:
    """The one shifted feature comes first with its size, others do not; patients count once."""
    values = points(2, 80, 80, 80, dimensions=20)
    values[160:, 7] += 2
    patients = Patients.of(np.repeat(np.arange(40), 2), np.arange(80), np.arange(80))
    drawn = plan(patients, 2, 0)
    assert drawn is not None
    table = single_features(values, patients.numbers, tuple(f"f{i}" for i in range(20)), drawn.equal[0])
    assert table["feature"].iat[0] == "f7"
    assert table["shift"].iat[0] == pytest.approx(2, abs=0.5)
    assert (table["q"] < 0.05).sum() == 1
    assert (table["real_q"] < 0.05).sum() == 0
    assert (table["n_training"].iat[0], table["n"].iat[0]) == (40, 80)


@pytest.fixture(params=["images", "volumes"])
def toy(request: pytest.FixtureRequest, toy_dataset: Any, toy_volumes: Any) -> Callable[..., Dataset]:
    """Factory of datasets of images, or of volumes."""
    return toy_dataset if request.param == "images" else toy_volumes


def test_everything_stands_beside_its_reference(toy: Callable[..., Dataset], tmp_path: Path) -> None:
    """In 2D and 3D: value, reference and ratio of every measure and encoder, with intervals and equal n."""
    real, fresh = toy(splits=SPLITS), toy("fresh", splits={"train": 30}, seed=9)
    tables = run(real, fresh, tmp_path / "out", encoders=ENCODERS)
    metrics = tables["metrics"]
    for encoder in ENCODERS:
        own = metrics[metrics["label"] == encoder]
        frechet = "frechet" if encoder == "pixpca" else "frechet_pca"
        medigan = "medigan_fid_ratio" + frechet.removeprefix("frechet")
        assert set(own["metric"]) >= OF_SETS | {medigan, frechet}
        assert set(own["n_items"]) == {24}
        ratios = own[(own["kind"] == "ratio") & own["metric"].isin(OF_SETS)]
        assert set(ratios["metric"]) == OF_SETS
        assert ((ratios["low"] < 1.1) & (ratios["high"] > 0.9)).mean() > 0.7
        assert value(own, medigan) == pytest.approx(1 / value(own, frechet, kind="ratio"))
        apart = value(own, "c2st") - value(own, "c2st", "reference")
        assert value(own, "c2st", kind="difference") == pytest.approx(apart)
    assert value(metrics, "ms_ssim", kind="ratio") == pytest.approx(1, abs=0.4)
    assert value(metrics, "mask_contrast", kind="ratio") > 0
    told = facts(tmp_path / "out")
    assert "frechet_infinity" in told["encoders"]["randconv"]["absent"]
    assert told["encoders"]["pixpca"]["weights_sha256"]
    places = tables["embeddings"]
    assert set(places["method"]) == {"pca", "tsne"}
    assert set(places["side"]) == {"training", "heldout", "synthetic"}
    assert 0.5 < told["encoders"]["pixpca"]["maps"]["tsne"]["trustworthiness"] <= 1


def test_grey_values_of_volumes_are_those_of_the_brain(toy_volumes: Any, tmp_path: Path) -> None:
    """Background is left out by the stored mask, and by the lowest value where a synthetic set has none."""
    real = toy_volumes(splits={"train": 4, "test": 2})
    made = toy_volumes("made", splits={"train": 4}, seed=5, brain=False)
    tables = run(real, made, tmp_path / "out")
    assert facts(tmp_path / "out")["field_of_view"] == "brain"
    assert facts(tmp_path / "out")["field_of_view_derived"]
    bars = tables["histogram"].query("profile == 'robust' and channel == 't1'")
    inside = {side: part["count"].sum() for side, part in bars.groupby("side")}
    brain = sum(int(real.select("train").mask(i, "brain").sum()) for i in range(4))
    assert inside["real"] == brain
    assert inside["synthetic"] == pytest.approx(brain, rel=0.05)
    assert value(tables["metrics"], "js_robust", label="t1", protocol="all") < 0.05


def test_swapped_masks_lose_their_contrast(toy_dataset: Any, tmp_path: Path) -> None:
    """Masks of other images are as large as before, and lie where there is nothing to see."""
    real = toy_dataset(splits=SPLITS)
    fresh = toy_dataset("fresh", splits={"train": 20}, seed=9)
    turn = iter([*range(7, 20), *range(7)])
    swapped = made_from(fresh, tmp_path / "swapped", list(range(20)), mask=lambda _: fresh.masks(next(turn)))
    metrics = run(real, swapped, tmp_path / "out")["metrics"]
    ratio = metrics[(metrics["metric"] == "mask_contrast") & (metrics["kind"] == "ratio")].iloc[0]
    assert ratio["low"] > 2
    assert 0.7 < value(metrics, "mask_foreground", kind="ratio") < 1.4


@pytest.mark.parametrize("odd", ["one image", "identical images", "constant images", "real training images"])
def test_odd_sets_give_numbers_or_reasons(toy_dataset: Any, tmp_path: Path, odd: str) -> None:
    """No traceback, no NaN: a metric has a value or a reason why it has none, and failure is seen."""
    real = toy_dataset(splits={"train": 20, "test": 20})
    items = {"one image": [0], "identical images": [3] * 20}.get(odd, list(range(20)))
    fresh = toy_dataset("fresh", seed=9, splits={"train": 20})
    source = real.select("train") if odd == "real training images" else fresh
    change = np.zeros_like if odd == "constant images" else np.array
    made = made_from(source, tmp_path / "made", items, change)
    encoders = ("pixpca", "radiomics") if odd == "real training images" else ENCODERS
    metrics = run(real, made, tmp_path / "out", encoders=encoders)["metrics"]
    assert np.isfinite(metrics["value"]).all()
    of_spaces = metrics[(metrics["kind"] == "absolute") & metrics["label"].isin(encoders)]
    named = {arm: set(own["label"] + "/" + own["metric"]) for arm, own in of_spaces.groupby("arm")}
    assert named["reference"] <= named["synthetic"]
    if odd == "one image":
        told = facts(tmp_path / "out")["encoders"]["randconv"]["absent"]
        assert set(told) >= {"kid", "precision", "vendi", "c2st"}
        assert value(metrics, "js_robust", protocol="all", label="luma") > 0
    if odd in ("identical images", "constant images"):
        assert value(metrics, "vendi", label="randconv") == pytest.approx(1, abs=0.01)
        assert value(metrics, "coverage", label="randconv") < 0.2
        assert value(metrics, "c2st", label="randconv") > 0.95
    if odd == "constant images":
        assert value(metrics, "frechet_pca", label="randconv", kind="ratio") > 10
    if odd == "real training images":
        assert value(metrics, "kid", label="pixpca", kind="ratio") < 0.1
        assert "is 0" in facts(tmp_path / "out")["encoders"]["pixpca"]["absent"]["medigan_fid_ratio"]
        assert "is 0" in facts(tmp_path / "out")["encoders"]["radiomics"]["absent"]["frd_pca"]


def test_unlike_images_are_refused(toy_dataset: Any, toy_volumes: Any, tmp_path: Path) -> None:
    """Another depth or another number of dimensions is named, with what to do."""
    real = toy_dataset(splits=SPLITS, labels=0)
    deep = toy_dataset("deep", splits={"train": 5}, seed=3, dtype=np.uint16, labels=0)
    with pytest.raises(DataError, match=r"8 and 16 bit.*same `prepare`.*65535"):
        run(real, deep, tmp_path / "deep_out")
    with pytest.raises(DataError, match="images and volumes cannot be compared"):
        run(real, toy_volumes("brains", splits={"train": 4}, seed=3), tmp_path / "volumes_out")


def test_an_image_without_a_number_is_named(toy_dataset: Any, tmp_path: Path) -> None:
    """A value outside of the range is the fault of one image, and the message says of which."""
    real = toy_dataset(splits=SPLITS, dtype=np.uint16)
    fresh = toy_dataset("fresh", splits={"train": 4}, seed=3, dtype=np.uint16)
    for data in (real, fresh):
        write_info(data.folder, data.info.model_copy(update={"value_range": (0.0, 1000.0)}))
    with pytest.raises(DataError, match=r"toy, item train_0: grey values .* outside the range"):
        run(Dataset(real.folder), Dataset(fresh.folder), tmp_path / "out")


def test_other_data_can_be_held_out(toy_dataset: Any, tmp_path: Path) -> None:
    """`heldout` names a dataset whose images are all taken, and the real one's own held-out split is not."""
    real = toy_dataset(splits={"train": 20, "test": 3})
    other = toy_dataset("other", splits={"train": 12}, seed=4)
    made = learnt(toy_dataset("made", splits={"train": 15}, seed=9), real)
    config = FidelityEvaluation(
        evaluator="fidelity", real="toy", heldout="other", synthetic="made", encoders=["pixpca"], bootstrap=50
    )
    bank = bank_of(tmp_path / "bank", ["pixpca"], ("toy", real), ("other", other), ("made", made))
    fidelity.run(config, "x", {"toy": real, "other": other, "made": made}, bank, tmp_path / "out")
    metrics = pd.read_parquet(tmp_path / "out/metrics.parquet")
    assert set(metrics.loc[metrics["metric"] == "kid", "n_items"]) == {12}


@pytest.mark.parametrize(
    ("ends", "metric", "said"),
    [
        ((2.0, 1.6, 2.5), "kid", "worse"),
        ((1.4, 1.2, 1.6), "kid", "inconclusive"),
        ((1.1, 0.9, 1.4), "kid", "better"),
        ((0.7, 0.6, 0.8), "precision", "worse"),
        ((1.0, 0.95, 1.05), "precision", "better"),
        ((0.92, 0.85, 1.0), "precision", "inconclusive"),
        ((0.2, 0.1, 0.3), "c2st", "worse"),
        ((0.05, 0.01, 0.12), "c2st", "inconclusive"),
        ((-0.02, -0.1, 0.06), "c2st", "better"),
    ],
)
def test_a_measure_votes(ends: tuple[float, float, float], metric: str, said: str) -> None:
    """Beyond what is tolerated and decidedly off real images; wholly within; else it abstains."""
    assert vote(*ends, FIDELITY[metric]) == said


RATIOS = {
    "bounded": [(1.0, 0.9, 1.1)] * 3,
    "without an interval": [(1.0, np.nan, np.nan)] * 3,
    "partly without": [(2.0, 1.8, 2.2), (2.0, 1.8, 2.2), (1.0, np.nan, np.nan)],
    "no ratio": [],
    "nothing": None,
}


@pytest.mark.parametrize(
    ("ratios", "word", "told"),
    [
        ("bounded", "pass", "0 cannot tell. Farthest"),
        ("without an interval", "inconclusive", "3 cannot tell (3 of them without an interval"),
        ("partly without", "fail", "1 cannot tell (1 of them without an interval"),
        ("no ratio", "inconclusive", "no measure has a ratio"),
        ("nothing", "untested", "No evaluation of this study compares images"),
    ],
)
def test_what_was_measured_is_not_called_untested(ratios: str, word: str, told: str) -> None:
    """A ratio that has no interval abstains, and the sentence says so."""
    metrics, found = ("kid", "frechet", "precision"), RATIOS[ratios]
    rows = [] if found is None else [("kid", "absolute", 0.1, 0.0, 0.2)]
    rows += [(metric, "ratio", *ends) for metric, ends in zip(metrics, found or [], strict=False)]
    summary = pd.DataFrame(rows, columns=["metric", "kind", "estimate", "low", "high"]).assign(
        evaluation="likeness", arm="synthetic", label="pixpca", protocol="heldout", n_items=60
    )
    verdict = axis_verdict("Fidelity", {"likeness": None}, summary.reindex(columns=list(COLUMNS)))
    assert verdict.word == word
    assert told in " ".join(verdict.sentences)


@pytest.mark.parametrize(
    ("votes", "metrics", "n", "word"),
    [
        ("wwb", "kid frechet c2st", 200, "worse"),
        ("ww", "kid kid", 200, "inconclusive"),
        ("bbi", "kid frechet c2st", 200, "better"),
        ("bbi", "kid frechet c2st", 30, "inconclusive"),
        ("bbbw", "kid frechet c2st precision", 200, "inconclusive"),
        ("www", "kid frechet c2st", 15, "inconclusive"),
        ("w", "js_robust", 200, "inconclusive"),
        ("wwbbbbb", "kid:b c2st:b kid c2st precision density frechet", 200, "worse"),
        ("wbwbb", "kid:b c2st:b kid c2st precision", 200, "inconclusive"),
    ],
)
def test_an_axis_needs_several_measures(votes: str, metrics: str, n: int, word: str) -> None:
    """One measure, grey values alone, or few images decide nothing; one feature space can condemn."""
    said = {"w": "worse", "b": "better", "i": "inconclusive"}
    named = [f"{one}:a".split(":")[:2] for one in metrics.split()]
    table = pd.DataFrame(named, columns=["metric", "label"])
    table = table.assign(vote=[said[one] for one in votes], n_items=n)
    assert decide(table) == word
