"""The study that `mirage evaluate` makes of folders of images: a configuration as a person would write it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

from mirage.config.datasets import DatasetConfig, with_group
from mirage.errors import ConfigError, DataError, LeakError
from mirage.folders.look import Look, look
from mirage.folders.masks import label_values, pattern_in, source_options
from mirage.folders.scale import prepare_options

LEAST_IMAGES = 8
"""Fewer images of a side say nothing of their distribution: neighbours are sought among five."""
NAMED = 8
"""How many patients an error names."""
SET_ASIDE = 0.3
"""Share of the subjects that is held out where no folder of held-out images is given."""
OPTIONS = {"training": "--real-train", "heldout": "--real-holdout", "synthetic": "--synthetic"}
MEND = {
    frozenset(("training", "heldout")): "hold out images that the generator has not seen, or leave "
    "--real-holdout out",
    frozenset(("training", "synthetic")): "give the images that the generator made",
    frozenset(("heldout", "synthetic")): "give the images that the generator made",
}
UTILITY = {"seeds": [0, 1], "steps": 200, "batch_size": 4, "judge": {"features": 12}}
"""Budget of the segmentation arms: minutes on two cores."""


@dataclass(frozen=True)
class Request:
    """What a user asks for; paths as they were written.

    Attributes:
        real_train: folder of the real images that the generator has learnt from.
        synthetic: folder of what it made.
        real_holdout: folder of real images that it has not seen, or None.
        masks: a pattern, or a folder of masks for each folder of images in the order of ``folders``.
        subjects: regular expression whose group is the subject, or None: every image is one of its own.
        size: side of the stored images, pixels or voxels, or None: as the images are.
        window: native values that become black and white, or None: as the images are.
        encoders: names of encoders, or none: the evaluations' own.
        utility: also train segmenters.
        name: of the study.
    """

    real_train: str
    synthetic: str
    real_holdout: str | None = None
    masks: Sequence[str] = ()
    subjects: str | None = None
    size: int | None = None
    window: tuple[float, float] | None = None
    encoders: Sequence[str] = ()
    utility: bool = False
    name: str = "judged"

    @property
    def folders(self) -> dict[str, str]:
        """Dataset -> folder, real ones first."""
        named = {"training": self.real_train, "heldout": self.real_holdout, "synthetic": self.synthetic}
        return {name: folder for name, folder in named.items() if folder is not None}


@dataclass(frozen=True)
class Study:
    """A configuration, and what its user has to know of it.

    Attributes:
        config: contents of a study file.
        remarks: sentences, also printed in the report.
    """

    config: dict[str, Any]
    remarks: list[str] = field(default_factory=list)


def make_study(request: Request) -> Study:
    """Look into the folders and write down how they are prepared, compared and reported.

    Raises:
        ConfigError: an expression for the subjects that finds none.
        LayoutError: a folder is missing or empty.
        DataError: images that cannot be read or compared, too few of them, masks that are not found.
        LeakError: one folder is given twice, or lies inside another; a patient has images in both real ones.
    """
    _refuse_overlaps(request)
    patterns = _given_patterns(request)
    looks = {
        name: look(folder, patterns.get(name), _mask_folders(request, folder))
        for name, folder in request.folders.items()
    }
    for name, found in looks.items():
        _refuse_too_little(found, name)
    _refuse_shared_subjects(request, looks)
    masks = _masks(request, looks, patterns)
    prepare, remarks = prepare_options(looks, request.size, request.window)
    if request.utility:
        prepare["require_mask"] = True
    colour = any(found.colour for found in looks.values())
    datasets = {}
    for name, found in looks.items():
        exclude = [*sorted(found.left_out), *_mask_folders(request, found.folder)]
        source = {"exclude": exclude, **masks.get(name, {}), "channels": "rgb" if colour else "grey"}
        datasets[name] = _dataset(request, name, source, prepare)
    evaluations = _evaluations(request, looks["training"].volumes)
    remarks = [*_remarks(request, looks), *remarks]
    study = {
        "title": f"Evaluation of {Path(request.synthetic).resolve().name}",
        "question": "Are the synthetic images faithful, diverse, new and private, judged against the real "
        "images that their generator has learnt from and those that it has not seen?",
        "evaluations": list(evaluations),
        **({"notes": remarks} if remarks else {}),
    }
    config = {"datasets": datasets, "evaluations": evaluations, "studies": {request.name: study}}
    return Study(config, remarks)


def _refuse_overlaps(request: Request) -> None:
    """Refuse folders whose images would be on both sides of a comparison.

    Synthetic images that are the training images are let through where others are held out: all are copies,
    and the report says so.
    """
    paths = {name: Path(folder).resolve() for name, folder in request.folders.items()}
    for first, second in permutations(paths, 2):
        if not paths[first].is_relative_to(paths[second]):
            continue
        if paths[first] != paths[second]:
            raise LeakError(
                f"{OPTIONS[first]} {request.folders[first]} lies inside {OPTIONS[second]} "
                f"{request.folders[second]}, so its images would count as both; give folders apart"
            )
        if {first, second} != {"training", "synthetic"} or request.real_holdout is None:
            raise LeakError(
                f"{OPTIONS[first]} and {OPTIONS[second]} are one folder, {request.folders[first]}; "
                f"{MEND[frozenset((first, second))]}"
            )


def _refuse_shared_subjects(request: Request, looks: Mapping[str, Look]) -> None:
    """Refuse a patient of both real folders by his name; where names tell no patients, pixels do so later."""
    if request.subjects is None or request.real_holdout is None:
        return
    try:
        expression = re.compile(with_group(request.subjects) or "")
    except ValueError as error:
        raise ConfigError(f"--subjects {request.subjects!r}: {error}") from error
    people = [
        {found[1] for file in looks[name].files if (found := expression.search(file))}
        for name in ("training", "heldout")
    ]
    shared = sorted(set.intersection(*people))
    if shared:
        more = f" and {len(shared) - NAMED} more" if len(shared) > NAMED else ""
        named = f"{', '.join(shared[:NAMED])}{more}"
        raise LeakError(
            f"--real-holdout {request.real_holdout}: {len(shared)} of {len(people[1])} subjects are in "
            f"--real-train {request.real_train} too: {named}; images of one patient belong into one folder"
        )


def _refuse_too_little(found: Look, name: str) -> None:
    if len(found.files) < LEAST_IMAGES:
        raise DataError(
            f"{found.folder}: {len(found.files)} images; at least {LEAST_IMAGES} are needed to say anything "
            "of a distribution"
        )
    if found.alike and name != "synthetic":
        raise DataError(
            f"{found.folder}: all {found.opened} images that were opened are one and the same; nothing can "
            "be compared with them"
        )
    share = len(found.failed) / found.opened
    if share > DatasetConfig.model_fields["max_failed_fraction"].default:
        raise DataError(
            f"{found.folder}: {len(found.failed)} of {found.opened} opened images cannot be used; mend or "
            f"remove them. The first: {next(iter(found.failed.values()))}"
        )


def _given_patterns(request: Request) -> dict[str, str]:
    """Dataset -> pattern of its masks, where it was given as one."""
    if not request.masks:
        if request.utility:
            raise DataError("--utility needs label masks of all images; say with --masks where they are")
        return {}
    if len(request.masks) == 1 and re.search(r"\{\w+\}", request.masks[0]):
        return dict.fromkeys(request.folders, request.masks[0])
    if len(request.masks) != len(request.folders):
        raise DataError(
            f"--masks: found {len(request.masks)}, expected a pattern such as 'masks/{{stem}}.png' once, or "
            f"a folder for each of {', '.join(request.folders)}, in this order"
        )
    return {}


def _mask_folders(request: Request, folder: str) -> list[str]:
    """Globs of the folders of masks that lie inside a folder of images."""
    root, inside = Path(folder).resolve(), []
    for masks in request.masks:
        path = Path(masks).resolve()
        if path != root and path.is_relative_to(root):
            inside.append(f"{path.relative_to(root).as_posix()}/**")
    return inside


def _masks(
    request: Request, looks: Mapping[str, Look], patterns: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Dataset -> keys of its source that say where its masks are and what they hold."""
    if not request.masks:
        return {}
    found = dict(patterns) or {
        name: pattern_in(masks, one.folder, one.files)
        for (name, one), masks in zip(looks.items(), request.masks, strict=True)
    }
    values = [label_values(found[name], one.folder, one.files) for name, one in looks.items()]
    return {name: {"masks": pattern, **source_options(values)} for name, pattern in found.items()}


def _dataset(
    request: Request, name: str, source: Mapping[str, Any], prepare: Mapping[str, Any]
) -> dict[str, Any]:
    written = {key: value for key, value in source.items() if value}
    path = str(Path(request.folders[name]).resolve())
    entry: dict[str, Any] = {
        "source": {"reader": "folder", "path": path, **written},
        "prepare": dict(prepare),
    }
    if name == "synthetic":
        return {**entry, "made_from": "training"}
    if request.subjects is not None:  # what a person calls a subject is one in both folders
        entry["source"] |= {"subject": request.subjects, "namespace": request.name}
    return {**entry, "split": _split(request, name)}


def _split(request: Request, name: str) -> dict[str, Any]:
    if request.real_holdout is None:
        return {"by": "random", "val": 0, "test": SET_ASIDE}
    return {"by": "random", "val": 0, "test": 0 if name == "training" else 1}


def _evaluations(request: Request, volumes: bool) -> dict[str, Any]:
    sides: dict[str, Any] = {"real": "training", "synthetic": "synthetic"}
    if request.real_holdout is not None:
        sides["heldout"] = "heldout"
    if request.encoders:
        sides["encoders"] = list(request.encoders)
    evaluations: dict[str, Any] = {"fidelity": {"evaluator": "fidelity", **sides}}
    if request.real_holdout is not None:
        evaluations["privacy"] = {"evaluator": "privacy", **sides}
    if not request.utility:
        return evaluations
    if request.real_holdout is None:
        raise DataError(
            "--utility scores on real images that the generator has not learnt from; give --real-holdout "
            "with such images"
        )
    if volumes:
        raise DataError(
            "--utility is for 2D images; write an evaluation `volume_segmentation` into the study that was "
            "made without it (docs/judging.md)"
        )
    sets = {"real": ["training"], "synthetic": ["synthetic"], "real_and_synthetic": ["training", "synthetic"]}
    arms = {arm: {"train": names, "augment": True} for arm, names in sets.items()}
    judged = {"evaluator": "segmentation", "test": "heldout", "arms": arms, **UTILITY}
    return {**evaluations, "utility": judged}


def _remarks(request: Request, looks: Mapping[str, Look]) -> list[str]:
    remarks = []
    if request.real_holdout is None:
        remarks.append(
            f"No held-out folder was given: {SET_ASIDE:.0%} of the subjects of {request.real_train}, drawn "
            "at random, stand for held-out images. The generator may have learnt from them, so novelty and "
            "privacy were not tested; give --real-holdout with images that it has not seen."
        )
    if Path(request.real_train).resolve() == Path(request.synthetic).resolve():
        remarks.append("--synthetic is the folder of --real-train itself: every image is a copy.")
    if request.subjects is None:
        remarks.append(
            "Every image counts as a subject of its own. Where patients have several images, give "
            "--subjects: intervals are too narrow otherwise."
        )
    for found in looks.values():
        if found.left_out:
            listed = ", ".join(f"{count} {glob}" for glob, count in sorted(found.left_out.items()))
            remarks.append(f"{found.folder}: files that are no images were left out ({listed}).")
        if found.opened < len(found.files):
            remarks.append(
                f"{found.folder}: {found.opened} of {len(found.files)} files were opened to choose size and "
                "grey values; all of them are prepared and compared."
            )
        if found.failed:
            remarks.append(
                f"{found.folder}: {len(found.failed)} of {found.opened} opened images cannot be used and are "
                f"listed as failed; the first: {next(iter(found.failed.values()))}."
            )
    return remarks
