"""The configuration: validation, messages, scales, slices, and the files generated from the models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mirage.config import Config, load_config, slices
from mirage.config.document import reference, schema_text
from mirage.config.load import merge, read_yaml
from mirage.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
STUDIES = ["quickstart", "retina", "retina-chase", "cells"]


def load(**overrides: Any) -> Config:
    return load_config({"run": ["quickstart"], **overrides}, CONFIG)


@pytest.mark.parametrize("scale", ["full", "demo"])
def test_shipped_studies_are_valid(scale: str) -> None:
    """Every study file validates at both scales, and all studies can be run together."""
    config = load(run=STUDIES, scale=scale)
    assert set(STUDIES) <= set(config.studies)


def test_demo_scale_simulates_every_dataset() -> None:
    """At demo scale no study needs downloaded data."""
    config = load(run=STUDIES, scale="demo")
    assert all(entry.simulate for entry in config.datasets.values())


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"run": ["quikstart"]}, r"config.yaml: run: 'quikstart' is no study; did you mean 'quickstart'\?"),
        ({"generatrs": {}}, r"config.yaml: unknown key 'generatrs'; did you mean 'generators'\?"),
        (
            {"generators": {"quick_masks": {"options": {"latnt": 3}}}},
            r"config.yaml: generators.quick_masks.options.latnt: unknown key; did you mean 'latent'\?",
        ),
        (
            {"generators": {"quick_masks": {"data": "quick_fundu"}}},
            r"quick_masks.data: 'quick_fundu' is no dataset or recipe; did you mean 'quick_fundus'\?",
        ),
        (
            {"datasets": {"quick_fundus": {"prepare": {"size": "big"}}}},
            r"datasets.quick_fundus.prepare.size: .*valid integer.*found 'big'",
        ),
        ({"generators": {"new": {"arch": "dcgn", "data": "x"}}}, r"generators.new: .*'dcgn'.*'dcgan'"),
        (
            {"studies": {"Bad Name": {"title": "", "question": "", "evaluations": ["quick_vessels"]}}},
            "names are",
        ),
        (
            {
                "recipes": {
                    "quick_fundus": {"recipe": "unconditional", "generator": "quick_masks", "count": 1}
                }
            },
            "both",
        ),
        (
            {"evaluations": {"quick_vessels": {"baseline": "nothing"}}},
            r"baseline 'nothing' is none of the arms",
        ),
        (
            {"datasets": {"quick_fundus": {"prepare": {"intensity": {"kind": "window"}}}}},
            "window needs low < high",
        ),
    ],
)
def test_mistakes_are_named(overrides: dict[str, Any], expected: str) -> None:
    """Each mistake gives file, key, what was found and what to write instead."""
    with pytest.raises(ConfigError, match=expected):
        load(**overrides)


def test_mistake_in_a_study_file_names_that_file(tmp_path: Path) -> None:
    """The message points to the file in which the key stands, not to config.yaml."""
    (tmp_path / "studies").mkdir()
    text = "generators:\n  g: {arch: dcgan, data: d, optoins: {}}\n"
    (tmp_path / "studies" / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"studies/mine.yaml: generators.g.optoins: unknown key"):
        load_config({"run": ["s"]}, tmp_path)


def test_entry_defined_in_two_files_is_refused(tmp_path: Path) -> None:
    """Two study files may not silently overwrite each other's entries."""
    (tmp_path / "studies").mkdir()
    for name in ("a", "b"):
        (tmp_path / "studies" / f"{name}.yaml").write_text("generators: {g: {arch: dcgan, data: d}}\n")
    with pytest.raises(ConfigError, match="already defined in"):
        load_config({"run": ["s"]}, tmp_path)


def test_key_given_twice_is_refused(tmp_path: Path) -> None:
    """YAML would keep the last one; the message names the line."""
    path = tmp_path / "config.yaml"
    path.write_text("run: [a]\nscale: demo\nrun: [b]\n")
    with pytest.raises(ConfigError, match=r"line 3: key 'run' is given twice"):
        read_yaml(path)


@pytest.mark.parametrize("text", ["- a\n- b\n", "run: [\n", "just words"])
def test_files_that_are_no_mapping_are_refused(tmp_path: Path, text: str) -> None:
    """Broken YAML and lists at the top are errors that name the file."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        read_yaml(path)


def test_generator_trained_on_its_own_product_is_refused() -> None:
    """A cycle of recipes and generators is found before Snakemake sees it."""
    with pytest.raises(ConfigError, match="trained on what it makes"):
        load(generators={"quick_masks": {"data": "quick_dual_gan"}})


def test_merge_replaces_lists_and_keeps_other_keys() -> None:
    """Mappings are merged deeply, lists are replaced."""
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 4}
    assert merge(base, {"a": {"c": [3]}}) == {"a": {"b": 1, "c": [3]}, "d": 4}


def test_slice_ignores_runtime_order_defaults_and_notation() -> None:
    """What cannot change a result does not enter a slice."""
    plain = slices.train_slice(load(), "quick_photos")
    same = load(
        generators={
            "quick_photos": {
                "runtime": {"gpus": 3, "minutes": 7},
                "options": {"lr": 0.0002, "features": 24, "critic_features": 16},
                "training": yaml.safe_load("ema_decay: null"),
            }
        }
    )
    assert slices.train_slice(same, "quick_photos") == plain
    assert list(plain["options"]) == sorted(plain["options"])
    changed = load(generators={"quick_photos": {"options": {"lr": 1e-3}}})
    assert slices.train_slice(changed, "quick_photos") != plain


def test_arm_slice_knows_no_other_arm() -> None:
    """Adding an arm, a seed or a baseline leaves the other arms' slices as they are."""
    plain = slices.arm_slice(load(), "quick_vessels", "real")
    more = load(
        evaluations={"quick_vessels": {"arms": {"other": {"train": ["quick_fundus"]}}, "seeds": [7]}},
    )
    assert slices.arm_slice(more, "quick_vessels", "real") == plain


@pytest.mark.parametrize(
    ("path", "text"), [("config/schema.json", schema_text()), ("docs/configuration.md", reference())]
)
def test_generated_files_are_fresh(path: str, text: str) -> None:
    """Run `mirage schema` when this fails."""
    assert (ROOT / path).read_text(encoding="utf-8") == text, f"{path} is stale: run `mirage schema`"


def test_conda_environment_has_the_pins_of_the_constraints() -> None:
    """One set of pins in several forms."""
    pins = {line for line in (ROOT / "constraints.txt").read_text().split("\n") if line and line[0] != "#"}
    environment = yaml.safe_load((ROOT / "envs" / "mirage.yaml").read_text())
    assert set(environment["dependencies"][-1]["pip"]) == pins


def test_every_config_key_has_a_description() -> None:
    """Descriptions feed the schema and the reference page."""
    silent = []
    for name, model in Config.model_json_schema()["$defs"].items():
        assert model.get("description"), f"{name} has no docstring"
        for key, field in model["properties"].items():
            if not (field.get("description") or "$ref" in field or "const" in field):
                silent.append(f"{name}.{key}")
    assert silent == []
