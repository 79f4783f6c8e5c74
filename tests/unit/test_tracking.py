"""Tracking by MLflow: what is logged, that a resumed training is one run, and that nothing depends on it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from boxed import boxed_dataset
from small_training import fit

from mirage import evaluate, tracking
from mirage.config.base import Runtime
from mirage.config.evaluations import DetectionEvaluation
from mirage.config.tracking import Tracking
from mirage.errors import TimeBudgetReached
from mirage.evaluate.tracked import means
from mirage.tracking import TrackedData

pytestmark = pytest.mark.usefixtures("one_thread")
DATA = TrackedData("scans", "train", "f" * 64, 12, 7)


class Ignored:
    """A client whose every method does nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of an SQLite store that the job's environment names."""
    module = pytest.importorskip(
        "mlflow.tracking", reason="MLflow is not installed: pip install '.[tracking]'"
    )
    for name, value in Tracking(uri="sqlite:///runs/mlflow.db").environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    return module.MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")


def runs_of(client: Any) -> list[Any]:
    """All runs of the experiment."""
    return list(client.search_runs([client.get_experiment_by_name("mirage").experiment_id]))


def opened(key: str = "k", **options: Any) -> Any:
    """A tracked block."""
    return tracking.tracked("gan/seed-0", key, kind="generator", parameters=options, datasets=[DATA])


def test_a_run_holds_parameters_data_metrics_and_files(client: Any, tmp_path: Path) -> None:
    """Everything that runs are compared by is there, and weights are not uploaded unasked."""
    (tmp_path / "model.json").write_text("{}")
    (tmp_path / "weights.safetensors").write_text("heavy")
    with opened(training={"steps": 4}, arch="dcgan") as run:
        for step in (1, 2):
            tracking.current().metrics(step, {"loss": 1 / step, "not a number": float("nan")})
        run.files([tmp_path / "model.json", tmp_path / "weights.safetensors", tmp_path / "absent"])
    (found,) = runs_of(client)
    assert found.info.status == "FINISHED"
    assert found.data.params["training.steps"] == "4"
    assert found.data.params["data.train.scans.images"] == "12"
    assert found.data.tags["kind"] == "generator"
    assert found.inputs.dataset_inputs[0].dataset.name == "scans"
    assert found.data.metrics == {"loss": 0.5}
    assert [file.path for file in client.list_artifacts(found.info.run_id)] == ["model.json"]
    assert Path(tmp_path / "runs" / "mlflow-files").is_dir()
    assert not tracking.current().tracks


def test_a_resumed_training_goes_on_in_its_run(client: Any, toy_dataset: Any, tmp_path: Path) -> None:
    """Stopped by its time budget, then finished: one run, every step once, as the history has them."""
    data = toy_dataset("real")
    with pytest.raises(TimeBudgetReached), opened():
        fit("dcgan", data, tmp_path / "state", minutes=1e-9, log_every=1)
    assert runs_of(client)[0].info.status == "KILLED"
    with opened():
        _, result = fit("dcgan", data, tmp_path / "state", log_every=1)
    (found,) = runs_of(client)
    assert found.info.status == "FINISHED"
    for metric in {name for _, name, _ in result.history}:
        logged = [(one.step, one.value) for one in client.get_metric_history(found.info.run_id, metric)]
        assert sorted(logged) == [(s, pytest.approx(v)) for s, name, v in result.history if name == metric]


def test_a_run_that_failed_says_so_and_a_finished_one_is_left_alone(client: Any) -> None:
    """The same job again, after it was finished, is another run."""
    with pytest.raises(ValueError, match="broken"), opened():
        raise ValueError("broken")
    assert [run.info.status for run in runs_of(client)] == ["FAILED"]
    for _ in range(2):
        with opened():
            pass
    assert [run.info.status for run in runs_of(client)] == ["FINISHED", "FINISHED"]


def test_only_the_first_rank_tracks(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ranks are one run."""
    monkeypatch.setenv("RANK", "1")
    with opened() as run:
        assert not run.tracks


def test_without_a_server_or_mlflow_the_job_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning, which says how to mend it, and no error."""
    monkeypatch.setenv(tracking.URI, "sqlite:////proc/no/such/place.db")
    with caplog.at_level(logging.WARNING), opened() as run:
        run.metrics(1, {"loss": 1.0})
    assert len(caplog.records) == 1
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setenv(tracking.URI, "http://127.0.0.1:9")
    caplog.clear()
    with caplog.at_level(logging.WARNING), opened() as run:
        assert not run.tracks
    assert "pip install '.[tracking]'" in caplog.text


def test_a_server_that_goes_away_is_told_of_once(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """The first failure ends the tracking, not the training."""

    class Gone:
        asked = 0

        def log_artifact(self, *_: Any) -> None:
            self.asked += 1
            raise ConnectionError("server is away\nlong traceback")

    gone = Gone()
    (tmp_path / "a.json").touch()
    run = tracking.Run(gone, "1")
    with caplog.at_level(logging.WARNING):
        run.files([tmp_path / "a.json"] * 3)
    assert gone.asked == 1
    assert len(caplog.records) == 1
    assert "long traceback" not in caplog.text


def test_nothing_is_tracked_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Off by default: MLflow is not even looked for."""
    monkeypatch.delenv(tracking.URI, raising=False)
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    with opened() as run:
        assert not run.tracks


def test_columns_of_scores_are_called_the_same_whatever_else_a_table_holds() -> None:
    """One test column or two, one arm or also the volumes that it looked into."""
    rows = pd.DataFrame(
        {"arm": "real", "metric": ["f1", "f1", "auc"], "label": "v", "value": [0.2, 0.4, None]}
    )
    assert means(rows, "real") == {"score/f1/v": pytest.approx(0.3)}
    more = pd.concat([rows, rows.assign(label="w"), rows.assign(arm="condition:made")])
    assert set(means(more, "real")) == {"score/f1/v", "score/f1/w", "score/condition:made/f1/v"}
    assert set(means(rows)) == {"score/real/f1/v"}
    assert set(means(rows.assign(label=None), "real")) == {"score/f1"}


def test_sizes_are_those_of_what_a_judge_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset that is trained on, held out of and tested on is three parts, none of them all of it."""
    data = boxed_dataset(tmp_path / "toy")
    config = DetectionEvaluation.model_validate(
        {
            "evaluator": "detection",
            "test": "toy",
            "arms": {"real": {"train": [{"data": "toy", "images": 10}]}},
            "steps": 2,
            "batch_size": 2,
            "own_share": 0.2,
            "judge": {"backbone": "resnet10", "width": 16, "fpn_channels": 8, "stem_stride": 2, "levels": 2},
        }
    )
    logged, scores = [], {}

    class Kept(tracking.Run):
        def data(self, datasets: Any) -> None:
            logged.extend(datasets)

        def metrics(self, step: int, values: Any) -> None:
            scores.update(values)

    monkeypatch.setenv(tracking.URI, "sqlite:///unused.db")
    monkeypatch.setattr(tracking, "_open", lambda *_: Kept(Ignored()))
    runtime = Runtime(accelerator="cpu")
    evaluate.run_arm(config, "nodules", "real", 0, {"toy": data}, tmp_path / "out", tmp_path / "s", runtime)
    parts = {one.part: (one.name, one.images, one.fingerprint) for one in logged}
    whole = data.info.fingerprint
    assert parts == {"train": ("toy", 8, whole), "held_out": ("toy", 2, whole), "test": ("toy", 6, whole)}
    assert {"score/cpm/benchmark", "score/cpm/own"} <= set(scores)


def test_a_dataset_is_an_input_once_for_each_part(client: Any) -> None:
    """MLflow would keep one of two inputs that have one name and digest."""
    with opened() as run:
        run.data([TrackedData("scans", "test", "f" * 64, 3, 2)])
    (found,) = runs_of(client)
    assert {key: found.data.params[f"data.{key}.scans.images"] for key in ("train", "test")} == {
        "train": "12",
        "test": "3",
    }
    contexts = [one.tags[0].value for one in found.inputs.dataset_inputs]
    assert sorted(contexts) == ["test", "train"]
