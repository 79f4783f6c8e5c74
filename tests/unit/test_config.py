"""The configuration: validation, messages, scales, slices, and the files generated from the models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from mirage.config import Config, load_config, slices
from mirage.config.datasets import DatasetConfig
from mirage.config.document import reference, schema_text
from mirage.config.load import merge, read_yaml
from mirage.errors import ConfigError, LayoutError
from mirage.graph import Graph
from mirage.sources import open_source

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
STUDIES = [
    "judge-folders",
    "quickstart",
    "retina",
    "retina-chase",
    "cells",
    "brain",
    "brain-small",
    "chest",
    "chest-small",
    "mammography",
    "mammography-calcifications",
    "mammography-small",
]


def load(**overrides: Any) -> Config:
    return load_config({"run": ["quickstart"], **overrides}, CONFIG)


@pytest.mark.parametrize("scale", ["full", "demo"])
def test_shipped_studies_are_valid(scale: str) -> None:
    """Every study file validates at both scales, and all studies can be run together."""
    config = load(run=STUDIES, scale=scale)
    assert set(STUDIES) <= set(config.studies)


def test_the_mammography_study_splits_as_its_folds_do() -> None:
    """60 % of the clients train, 6.7 % validate and a third is tested on, also where there are no folds."""
    config = load(run=["mammography"])
    folds = config.evaluations["mass_or_normal"].folds
    assert (1 / folds.count, folds.val * (1 - 1 / folds.count)) == pytest.approx((1 / 3, 0.0667), abs=1e-3)
    for name in ("mammo_masses", "mammo_patches"):
        split = config.datasets[name].split
        assert (split.test, split.val * (1 - split.test)) == pytest.approx((1 / 3, 0.0667), abs=1e-3)


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
            {"recipes": {"quick_single_gan": {"conditions": {"sex": "F"}}}},
            r"quick_single_gan.conditions: '\w+' \(dcgan\) is not conditioned on attributes",
        ),
        (
            {
                "generators": {
                    "new": {
                        "arch": "conditional_dcgan",
                        "data": "quick_fundus",
                        "options": {"conditions": ["sex"]},
                    }
                },
                "recipes": {
                    "made": {
                        "recipe": "unconditional",
                        "generator": "new",
                        "count": 2,
                        "conditions": {"age": 50},
                    }
                },
            },
            r"recipes.made.conditions: 'age' is none of its conditions, which are sex",
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
                "runtime": {"gpus": 1, "minutes": 7},
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


BRATS = {"source": {"reader": "brats"}, "prepare": {"kind": "volume", "size": [32, 48, 48]}}
OWN = {"files": {"flair": "*f*", "label": "*l*"}, "sequences": ["flair"], "codes": "brats2018"}
UNLABELLED = {"source": {"files": {"flair": "*f*"}, "sequences": ["flair"]}}
LESIONS = {"reader": "folder", "path": "x", "channels": "grey", "masks": "{stem}_m.nii"}
SMALLER = {"prepare": {"size": [32, 32, 32]}}
NO_BRAIN = {"prepare": {"brain": "none", "outside": "keep"}}
JUDGED = "evaluations.judged"


def volumes(**overrides: Any) -> Config:
    """A study of volumes with every kind of reference between its entries; ``overrides`` are merged."""
    plain: dict[str, Any] = {
        "run": ["study"],
        "datasets": {"brains": BRATS, "others": BRATS},
        "generators": {"drawn": {"arch": "label_to_brain", "data": "brains"}},
        "recipes": {
            "carved": {"recipe": "carve_mix", "data": "others", "count": 4},
            "mixed": {"recipe": "mix_labels", "generator": "drawn", "data": "brains", "count": 4},
        },
        "evaluations": {
            "judged": {
                "evaluator": "volume_segmentation",
                "test": "brains",
                "arms": {
                    "real": {"train": ["brains"]},
                    "more": {"train": ["brains"], "pretrain": ["carved"], "augment": True},
                },
                "label_fidelity": ["mixed"],
                "judge": {"arch": "segmenter3d", "patch": [32, 32, 32]},
            }
        },
        "studies": {"study": {"title": "t", "question": "q", "evaluations": ["judged"]}},
    }
    return Config.model_validate(merge(plain, overrides))


def judged(**keys: Any) -> dict[str, Any]:
    return {"evaluations": {"judged": keys}}


def training(gpus: int = 0, **keys: int) -> dict[str, Any]:
    return {"generators": {"drawn": {"training": keys, "runtime": {"gpus": gpus}}}}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            {"datasets": {"others": SMALLER}, "recipes": {"mixed": {"data": "others"}}},
            r"recipes\.mixed: 'brains' has `prepare\.size` \[32, 48, 48\], 'others' \[32, 32, 32\]",
        ),
        (
            {"datasets": {"others": SMALLER}},
            rf"{JUDGED}\.arms\.more: 'carved' \(stored as 'others' is\) has `prepare\.size` \[32, 32, 32\]",
        ),
        ({"datasets": {"others": {"prepare": {"bits": 8}}}}, r"arms\.more: .*`prepare\.bits` 8, 'brains' 16"),
        ({"datasets": {"others": {"source": OWN}}}, r"arms\.more: .*`channels` \['flair'\]"),
        ({"datasets": {"others": {"source": {"codes": "brats2024"}}}}, r"arms\.more: .*`labels` .*'RC'"),
        (
            {
                "datasets": {"others": SMALLER},
                **judged(arms={"more": {"pretrain": []}}, label_fidelity=["carved"]),
            },
            rf"{JUDGED}\.label_fidelity: 'carved'",
        ),
        (
            judged(regions={"X": ["ED", "nolabel"]}),
            rf"{JUDGED}\.regions: X: no label nolabel; .* NCR, ED, ET",
        ),
        (judged(regions={"X": []}), r"X: no label is named"),
        (judged(regions={"ET": ["ED"]}), r"ET: a label of this name is something else"),
        (judged(label_fidelity=["brains"]), rf"{JUDGED}\.label_fidelity: 'brains' is a dataset"),
        (
            {"recipes": {"mixed": {"runtime": {"gpus": 2}}}},
            r"mixed\.runtime\.gpus: 2; only generators",
        ),
        (training(accumulate=2, batch_size=4, gpus=3), r"drawn\.training\.batch_size: 4 .* a multiple of 12"),
        (training(batch_size=2, gpus=2), r"a multiple of 4"),
        ({"datasets": {"brains": NO_BRAIN}}, r"generators\.drawn\.data: 'brains' stores no brain masks"),
        ({"datasets": {"others": NO_BRAIN}}, r"recipes\.carved\.data: 'others' stores no brain masks"),
        (
            {"datasets": {"brains": UNLABELLED, "others": UNLABELLED}},
            r"drawn\.data: 'brains' has no label masks",
        ),
        (
            {"datasets": {"others": {"simulate": {}, "source": {"files": {"pd": "*"}, "sequences": ["pd"]}}}},
            r"source\.sequences: simulated brains have no pd",
        ),
    ],
)
def test_entries_that_do_not_fit_together_are_refused(overrides: dict[str, Any], expected: str) -> None:
    """What would fail after hours of training fails when the configuration is read."""
    with pytest.raises(ValidationError, match=expected):
        volumes(**overrides)


def test_entries_that_fit_together_are_taken() -> None:
    """The plain study, whole pairs on every device, regions of a folder's own labels."""
    volumes(**training(gpus=2, accumulate=2, batch_size=8))
    source = {**LESIONS, "mask_polarity": "labels", "labels": {1: "core", 2: "edge"}}
    lesions = {"source": source, "prepare": BRATS["prepare"]}
    plain = volumes().model_dump(exclude_defaults=True)
    plain["datasets"] = {"brains": lesions, "others": lesions}
    with pytest.raises(ValidationError, match=r"regions: WT, .*no label NCR, ED, ET; .* are core, edge"):
        Config.model_validate(plain)
    Config.model_validate(merge(plain, judged(regions={"all": ["core", "edge"]})))


@pytest.mark.parametrize(
    "source",
    [
        {"reader": "brats"},
        {"reader": "brats", "codes": "brats2024"},
        {"reader": "brats", **OWN},
        {"reader": "brats", "files": {"flair": "*f*"}, "sequences": ["flair"]},
        {"reader": "msd_brain", "sequences": ["t2", "t1"]},
        {"reader": "messidor"},
        {**LESIONS, "labels": {1: "lesion"}},
        {**LESIONS, "masks": None},
    ],
)
@pytest.mark.parametrize("simulated", [False, True])
def test_configuration_knows_what_the_readers_give(source: dict[str, Any], simulated: bool) -> None:
    """Labels and channels, of real and of simulated data, and what is left out of a slice changes neither."""
    kind = "image" if source["reader"] == "messidor" else "volume"
    prepare = {"kind": kind, "size": 64 if kind == "image" else [64, 64, 64]}
    keys = {"source": source, "prepare": prepare, "simulate": {} if simulated else None}
    entry = DatasetConfig.model_validate(keys)
    folder = Path("simulated") if simulated else None
    reader = open_source(entry.source, folder)
    assert entry.labels == (reader.labels if "label" in reader.mask_channels else {})
    assert ("label" in entry.mask_channels) == ("label" in reader.mask_channels)
    if kind == "volume":
        assert entry.source.channels_stored == reader.channel_names
    if simulated:
        same = open_source(entry.source.simulated(), folder)
        for key in ("labels", "mask_channels", "channel_names", "namespace"):
            assert getattr(same, key) == getattr(reader, key)


def test_slice_of_simulated_data_knows_no_real_layout() -> None:
    """Path, names and codes of the real files; but a reader's other options, and real data, count."""
    plain, simulated = {"sequences": ["flair"]}, {"simulate": {}}

    def prepared(source: dict[str, Any], **keys: Any) -> dict[str, Any]:
        return slices.prepare_slice(volumes(datasets={"x": merge(BRATS, {"source": source, **keys})}), "x")

    for real in (OWN, {"path": "y"}, {"layout": "brats2023"}, {"codes": "msd"}, {**OWN, "folders": "a/*"}):
        assert prepared({**plain, **real}, **simulated) == prepared(plain, **simulated), real
        assert prepared({**plain, **real}) != prepared(plain), real
    for kept in ({"sequences": ["t1"]}, {"codes": "brats2024"}, {"subject": "(.*)"}):
        assert prepared({**plain, **kept}, **simulated) != prepared(plain, **simulated), kept
    source, volume = {**LESIONS, "reader": "folder"}, BRATS["prepare"]
    folder = volumes(datasets={"x": {"source": source, "prepare": volume, "simulate": {}}})
    options = slices.prepare_slice(folder, "x")["options"]
    assert DatasetConfig.model_validate(options).source.path == ""


def test_an_override_can_take_an_arm_away() -> None:
    """An arm of null is left out; the baseline cannot be."""
    arms = (
        load(evaluations={"quick_vessels": {"arms": {"synthetic": None}}}).evaluations["quick_vessels"].arms
    )
    assert set(arms) == {"real", "real_and_synthetic"}
    with pytest.raises(ConfigError, match=r"baseline 'real' is none of the arms"):
        load(evaluations={"quick_vessels": {"arms": {"real": None}}})


def test_augmentation_concerns_the_arms_that_use_it() -> None:
    """Of volumes the judge's own, of images the evaluation's."""
    arms = {
        "arms": {name: {"train": ["quick_fundus"], "augment": name == "more"} for name in ("real", "more")}
    }
    images = [
        load(evaluations={"quick_vessels": {**arms, **keys}}) for keys in ({}, {"augment": {"gamma": 0.5}})
    ]
    brains = [volumes(), volumes(**judged(judge={"augment": {"flip": False}}))]
    for name, pair in (("judged", brains), ("quick_vessels", images)):
        for arm in ("real", "more"):
            one, other = (slices.arm_slice(config, name, arm) for config in pair)
            assert (one == other) == (arm == "real")
            assert "augment" not in one["options"].get("judge", {})


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


def published(network: str, weights: str) -> dict[str, Any]:
    """Overrides by which the quick start reads a published encoder."""
    entry = {"encoder": "pretrained", "network": network, "weights": weights, "sha256": "0" * 64}
    return {"encoders": {"net": entry}, "evaluations": {"quick_fidelity": {"encoders": ["net"]}}}


def test_weights_that_are_not_there_are_missed_before_anything_runs(tmp_path: Path) -> None:
    """Where an evaluation of a study to be run names the encoder, and only there."""
    file = tmp_path / "inception.pth"
    graph = Graph(load(**published("inception_fid", str(file))))
    with pytest.raises(LayoutError, match=r"encoders.net.weights: no file .*inception.pth; download it"):
        graph.check_layouts()
    file.touch()
    graph.check_layouts()
    assert graph.encoder_weights("net") == [str(file)]
    Graph(load(encoders=published("inception_fid", "nowhere.pth")["encoders"])).check_layouts()


def test_a_generator_needs_the_weights_that_its_losses_look_with(tmp_path: Path, monkeypatch) -> None:
    """A user's VGG19 is an input of its training; a missing one is missed before anything runs."""
    file = tmp_path / "vgg19.pth"
    perceptual = {"network": "vgg19", "weights": str(file), "sha256": "0" * 64}
    fill = {"arch": "aot_gan", "data": "quick_fundus", "options": {"perceptual": perceptual}}
    own = {"arch": "aot_gan", "data": "quick_fundus"}
    graph = Graph(load(generators={"fill": fill, "own": own}))
    assert graph.training_weights("fill") == [str(file)]
    assert graph.training_weights("own") == []
    graph.check_layouts()
    monkeypatch.setattr(Config, "study_models", lambda self, study: {("fill", 0), ("own", 0)})
    with pytest.raises(LayoutError, match=r"generators.fill.options.perceptual.weights: no file .*vgg19.pth"):
        graph.check_layouts()
    file.touch()
    graph.check_layouts()


@pytest.mark.parametrize(
    ("drive", "fits"),
    [
        ({}, False),
        ({"split": {"by": "random"}}, False),
        ({"prepare": {"require_mask": True}}, False),
        ({"split": {"by": "random"}, "prepare": {"require_mask": True}, "max_failed_fraction": 0.5}, True),
    ],
)
def test_drive_without_test_labels_is_refused_where_they_are_scored(
    tmp_path: Path, drive: dict[str, Any], fits: bool
) -> None:
    """Before anything runs, unless all unlabelled items are left out; other studies of it need no labels."""
    for part in ("training/images", "training/1st_manual", "training/mask", "test/images", "test/mask"):
        (tmp_path / "drive" / part).mkdir(parents=True)
    (tmp_path / "messidor" / "Base11").mkdir(parents=True)
    places = {name: {"source": {"path": str(tmp_path / name)}} for name in ("drive", "messidor")}
    overrides = {"run": ["retina"], "datasets": {**places, "drive": merge(places["drive"], drive)}}
    if fits:
        Graph(load(**overrides)).check_layouts()
    else:
        with pytest.raises(LayoutError, match=r"drive/test/1st_manual is missing.*max_failed_fraction"):
            Graph(load(**overrides)).check_layouts()
    unscored = {"title": "T", "question": "Q", "evaluations": ["retina_fidelity"]}
    Graph(load(**{**overrides, "run": ["looks"], "studies": {"looks": unscored}})).check_layouts()
    (tmp_path / "drive/test/1st_manual").mkdir()
    Graph(load(**overrides)).check_layouts()


def test_an_evaluation_reads_the_weights_of_the_encoders_that_it_applies(tmp_path: Path) -> None:
    """Fitted ones and the user's file, which are inputs of its job; one that applies none reads none."""
    file = tmp_path / "inception.pth"
    overrides = published("inception_fid", str(file))
    overrides["evaluations"]["quick_privacy"] = {"encoders": ["pixpca", "net"]}
    graph = Graph(load(**overrides))
    real = graph.config.evaluations["quick_privacy"].real
    fitted = [f"{graph.encoder_folder(real, name)}/weights.safetensors" for name in ("pixpca", "net")]
    assert graph.set_encoder_weights("quick_privacy") == [*fitted, str(file)]
    assert graph.set_encoder_weights("quick_fidelity") == []


def test_encoders_of_volumes_are_refused_for_images() -> None:
    """At parse time, by name."""
    with pytest.raises(ConfigError, match=r"quick_fidelity.encoders: 'net' is for volumes, 'quick_fundus'"):
        load(**published("medicalnet_resnet10", "m.pth"))


CHEST: dict[str, Any] = {
    "datasets": {
        "boxed": {"source": {"reader": "nih_chest", "path": "resources/nih"}, "prepare": {"size": 1024}},
        "healthy": {"source": {"reader": "nih_chest", "path": "resources/nih"}, "prepare": {"size": 1024}},
        "patches": {"source": {"reader": "nih_chest", "path": "resources/nih"}, "prepare": {"size": 256}},
    },
    "generators": {"painter": {"arch": "aot_gan", "data": "patches"}},
    "recipes": {
        "nodules": {"recipe": "extract_lesions", "data": "boxed", "inpainter": "painter"},
        "synthetic": {
            "recipe": "extract_and_insert",
            "hosts": "healthy",
            "lesions": "nodules",
            "count": 5,
        },
    },
}


def chest(**synthetic: Any) -> Config:
    return load(
        **{**CHEST, "recipes": {**CHEST["recipes"], "synthetic": CHEST["recipes"]["synthetic"] | synthetic}}
    )


def test_insertion_reads_lesions_hosts_and_what_a_person_accepts() -> None:
    """The proposals unless the user names a table; radiographs are stored as hosts, lesions as patches."""
    config = chest()
    inputs = Graph(config).recipe_inputs("synthetic")
    assert inputs == [
        "results/datasets/healthy/manifest.parquet",
        "results/synthetic/nodules/manifest.parquet",
        "results/synthetic/nodules/curation.csv",
    ]
    assert Graph(chest(curation="mine.csv")).recipe_inputs("synthetic")[-1] == "mine.csv"
    assert config.stored_as("synthetic") == "healthy"
    assert config.stored_as("nodules") == "patches"
    assert config.data_of("synthetic") == {"synthetic", "nodules", "healthy", "boxed", "patches"}


def test_a_report_reads_the_table_that_decides_and_asks_for_what_is_decided_by() -> None:
    """An edited table remakes it; sheet and proposals are made of new lesions also where a table is named."""
    judged = {"evaluator": "fidelity", "real": "healthy", "synthetic": "synthetic"}
    study = {"title": "Nodules", "question": "Alike?", "evaluations": ["looks"]}
    shown = [f"results/synthetic/nodules/{file}" for file in ("curation.csv", "contact-sheet.png")]
    for named, read in (({}, shown), ({"curation": "mine.csv"}, ["mine.csv", *shown])):
        recipes = {**CHEST["recipes"], "synthetic": CHEST["recipes"]["synthetic"] | named}
        more = {"evaluations": {"looks": judged}, "studies": {"lesions": study}}
        graph = Graph(load(**{**CHEST, "recipes": recipes, **more}))
        assert graph.report_inputs("lesions")["lesions"] == read
        assert graph.report_plan("lesions")["curations"] == {"synthetic": read[0]}
        assert "show_lesions/nodules" in graph.study_jobs("lesions")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"lesions": "healthy"}, r"recipes.synthetic.lesions: 'healthy' is no recipe `extract_lesions`"),
        ({"lesions": "nodule"}, r"did you mean 'nodules'"),
        ({"per_image": [2, 1]}, r"per_image: \[2, 1\] must be two numbers from 1, smallest first"),
        ({"lung": {"kind": "boxes", "boxes": [[0.5, 0.1, 0.4, 0.9]]}}, r"is no x0, y0, x1, y1 in shares"),
        (
            {"lung": {"kind": "segmenter", "segmenter": "painter"}},
            r"lung_segmenter: expected a generator of masks",
        ),
    ],
)
def test_an_insertion_that_cannot_be_made_is_refused(change: dict[str, Any], expected: str) -> None:
    """Lesions that are none, numbers in the wrong order, boxes outside the image, no segmenter."""
    with pytest.raises((ConfigError, ValidationError), match=expected):
        chest(**change)
