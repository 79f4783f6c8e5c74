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
            r"studies.Bad Name",
        ),
        (
            {
                "recipes": {
                    "quick_fundus": {"recipe": "unconditional", "generator": "quick_masks", "count": 1}
                }
            },
            "rename one",
        ),
        (
            {"evaluations": {"quick_vessels": {"test": "quick_dual_gan"}}},
            r"quick_vessels.test: 'quick_dual_gan' is no dataset",
        ),
        (
            {"evaluations": {"quick_vessels": {"arms": {"observer2": {"train": ["quick_fundus"]}}}}},
            "kept for",
        ),
        ({"evaluations": {"quick_vessels": {"arms": {"_x": {"train": ["quick_fundus"]}}}}}, r"arms._x"),
        ({"evaluations": {"quick_vessels": {"seeds": [0, 0]}}}, "listed twice"),
        ({"evaluations": {"quick_vessels": {"seeds": [-1]}}}, "greater than or equal to 0"),
        (
            {"recipes": {"quick_dual_gan": {"masks": "quick_photos", "images": "quick_masks"}}},
            r"quick_dual_gan.masks: expected a generator of masks from noise, 'quick_photos' is pix2pix",
        ),
        (
            {"recipes": {"quick_single_gan": {"generator": "quick_photos"}}},
            "expected a generator of images from",
        ),
        ({"datasets": {"quick_fundus": {"prepare": {"size": 100}}}}, r"dcgan makes images of side \(32"),
        ({"generators": {"quick_masks": {"training": {"accumulate": 3}}}}, "does not divide batch_size"),
        ({"generators": {"quick_masks": {"demo": {"trainin": {}}}}}, r"trainin: unknown key"),
        ({"datasets": ["quick_fundus"]}, r"config.yaml: datasets: expected a mapping"),
        ({"datasets": {"quick_fundus": [1]}}, r"datasets.quick_fundus: expected a mapping"),
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


@pytest.mark.parametrize(
    "overrides",
    [
        {"generators": {"quick_masks": {"data": "quick_dual_gan"}}},
        {
            "generators": {"seg": {"arch": "segmenter", "data": "quick_fundus"}},
            "recipes": {"again": {"recipe": "pseudo_label", "images": "again", "segmenter": "seg"}},
        },
    ],
)
def test_recipe_made_of_itself_is_refused(overrides: dict[str, Any]) -> None:
    """A cycle, through generators or through images, is found before Snakemake sees it."""
    with pytest.raises(ConfigError, match="of itself"):
        load(**overrides)


def test_registry_left_empty_is_no_mistake() -> None:
    """`datasets:` with only comments below it is what an edited config.yaml looks like."""
    assert load(datasets=None, generators=None) == load()


def test_complete_study_of_the_documentation_is_valid(tmp_path: Path) -> None:
    """docs/your-data.md promises a study to copy."""
    text = (ROOT / "docs" / "your-data.md").read_text(encoding="utf-8")
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "wards.yaml").write_text(text.split("```yaml\n")[1].split("```")[0])
    assert load_config({"run": ["wards"]}, tmp_path).study_data("wards") == {"wards", "wards_synthetic"}


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
                "options": {"lr": 0.0002, "features": 16, "critic_features": 16},
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


def test_registries_of_code_match_the_configuration() -> None:
    """Every arch, recipe, evaluator and reader that can be written has code, and the other way round."""
    from mirage.evaluate import EVALUATORS
    from mirage.generators import GENERATORS
    from mirage.recipes import RECIPES
    from mirage.sources import READERS

    schema = Config.model_json_schema()
    for registry, code in (("generators", GENERATORS), ("recipes", RECIPES), ("evaluations", EVALUATORS)):
        (entry,) = schema["properties"][registry]["patternProperties"].values()
        assert set(entry["discriminator"]["mapping"]) == set(code), registry
    sources = schema["$defs"]["DatasetConfig"]["properties"]["source"]
    assert set(sources["discriminator"]["mapping"]) == set(READERS)


def test_no_document_has_a_gap_to_fill() -> None:
    """Figures are filled in before a release."""
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        assert "@@" not in path.read_text(encoding="utf-8"), path


def test_every_config_key_has_a_description() -> None:
    """Descriptions feed the schema and the reference page."""
    silent = []
    for name, model in Config.model_json_schema()["$defs"].items():
        assert model.get("description"), f"{name} has no docstring"
        for key, field in model["properties"].items():
            if not (field.get("description") or "$ref" in field or "const" in field):
                silent.append(f"{name}.{key}")
    assert silent == []
