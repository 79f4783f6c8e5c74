"""Novelty and privacy in the report: what is said, by which rule, and that nothing is called private."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from mirage.config.evaluations import PrivacyEvaluation, StudyConfig
from mirage.data import Dataset
from mirage.data.dataset import write_info
from mirage.evaluate import run_set
from mirage.evaluate.features.bank import FeatureBank
from mirage.evaluate.privacy.rows import row
from mirage.report import Finished, ReportInputs, build_report
from mirage.report.evaluators import privacy as privacy_report
from mirage.report.summary import summarise


def finished(real: Dataset, made: Dataset, out: Path) -> ReportInputs:
    """A finished evaluation of a synthetic set that has learnt from the training split."""
    write_info(made.folder, made.info.model_copy(update={"lineage": sorted(real.select("train").subjects())}))
    config = PrivacyEvaluation(
        evaluator="privacy", real="real", synthetic="made", bootstrap=50, encoders=[], heldout=None
    )
    run_set(config, "secret", {"real": real, "made": Dataset(made.folder)}, FeatureBank(), out / "results")
    done = {"secret": Finished(config, [out / "results"])}
    return ReportInputs(done, {"real": real.folder, "made": made.folder})


@pytest.mark.parametrize("kind", ["image", "volume"])
def test_a_copied_set_fails_and_the_page_says_why(
    kind: str,
    tmp_path: Path,
    toy_dataset: Callable[..., Dataset],
    toy_volumes: Callable[..., Dataset],
) -> None:
    """Gate, attacks, nearest pairs and the list of items; no words that a report may not print."""
    make = toy_dataset if kind == "image" else toy_volumes
    size = {} if kind == "image" else {"extent": (12, 16, 14)}
    real = make("real", splits={"train": 8, "test": 6}, **size)
    made = make("made", splits={"train": 8}, origin="synthetic", **size)
    inputs = finished(real, made, tmp_path)
    novelty, privacy = privacy_report.verdicts(inputs.evaluations, {"made"}, summarise(inputs))
    assert (novelty.word, privacy.word) == ("fail", "fail")
    assert "exact copies of training images 1.000" in novelty.sentences[0]
    assert "near copies (image) 1.000" in novelty.sentences[0]
    assert "beyond what is expected of new ones, limit 0.05" in novelty.sentences[0]
    assert "lies below 0.8, the tolerance" in novelty.rule
    assert "exact copies (image)" in privacy.sentences[0]
    for metric in ("auc", "tpr_at_fpr_1"):
        assert f"secret/synthetic/{metric}/absolute/image/distance" in privacy.decided_by
    build_report(
        StudyConfig(title="T", question="Q", evaluations=["secret"]), "t", inputs, tmp_path / "report"
    )
    text = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    ids = {
        "closest_masks", "closest_images", "nearest_masks", "nearest_images", "copies", "detector", "gate",
        "attacks", "roc", "condition", "filtered",
    }  # fmt: skip
    if kind == "volume":
        ids |= {"closest_brain_masks", "nearest_brain_masks"}
    assert {f"{id}/secret" for id in ids} <= set(re.findall(r"[a-z_]+/secret", text))
    assert "Threat model" in text
    assert len(re.findall("Searched: 8 of 8 synthetic and 6 of 6 held-out real items", text)) > 5
    assert re.search(r"[0-9]+ tests were made, and the p values are adjusted for all of them by Holm", text)
    assert "Residual risk of releasing made: at least one limit of the gate is broken" in text
    assert "What was not tested" in text
    assert "no finite epsilon" in text
    assert "canaries, because none were planted in real" in text
    assert "scores by a discriminator, because no generator of this study made made" in text
    assert "Privacy was not tested" not in text
    assert not re.search(
        r"(is|are) (therefore |thus )?(private|anonymous)\b", re.sub("does not show that[^.]*", "", text)
    )


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.85, 0.99, "pass"), (0.7, 0.9, "inconclusive"), (0.5, 0.79, "fail")]
)
def test_novelty_has_a_tolerance(low: float, high: float, expected: str, tmp_path: Path) -> None:
    """Surely a little nearer to training items than held-out ones is no copying; the margin decides."""
    config = PrivacyEvaluation(evaluator="privacy", real="real", synthetic="made")
    (tmp_path / "details").mkdir()
    names = list(privacy_report.NOVELTY_LIMITS)
    limits = pd.DataFrame({"limit": names, "word": "pass", "value": 0.0, "low": 0.0, "high": 0.01})
    limits.assign(bound=0.05, space="image", reason="so").to_parquet(tmp_path / "details/gate.parquet")
    line = row("synthetic", "nearest", "image", "nearest", (low + high) / 2, (low, high), 90, 90, "ratio")
    summary = pd.DataFrame([line]).rename(columns={"value": "estimate"}).assign(evaluation="secret")
    found = privacy_report.novelty_verdict({"secret": Finished(config, [tmp_path])}, summary)
    assert found.word == expected
    assert "tolerance 0.8" in found.sentences[0]


def test_attacks_that_were_not_measured_are_said(tmp_path: Path, toy_dataset: Callable[..., Dataset]) -> None:
    """Without held-out subjects nothing passes, and the page says so; canaries need none to be audited."""
    real = toy_dataset("real", splits={"train": 9})
    manifest = pd.read_parquet(real.folder / "manifest.parquet")
    manifest["canary"] = [None, *["planted"] * 4, *["left_out"] * 4]
    manifest.loc[5:, "split"] = None
    manifest.to_parquet(real.folder / "manifest.parquet")
    real = Dataset(real.folder)
    inputs = finished(real, toy_dataset("made", splits={"train": 6}, seed=4, origin="synthetic"), tmp_path)
    summary = summarise(inputs)
    assert privacy_report.verdicts(inputs.evaluations, {"made"}, summary)[1].word == "inconclusive"
    said = " ".join(privacy_report.limits(inputs.evaluations, summary))
    assert "no membership attack was measured" in said
    assert "does not show that the synthetic data are private" in said
    bare = replace(inputs, datasets={})
    build_report(StudyConfig(title="T", question="Q", evaluations=["secret"]), "t", bare, tmp_path / "report")
    text = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "treat the set as personal data" in text
    assert "closest_images/secret" not in text
    assert "canaries/secret" in text
    assert "epsilon is at least" in text
    assert "none were planted" not in text
