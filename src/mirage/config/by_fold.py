"""Cross-validation by subject in the graph: what is made by fold, and how such entries are written out.

A generator that says ``folds: 3`` stands for three, ``<name>-fold-0`` to ``<name>-fold-2``, each of which
learns from its fold's training subjects alone; so does a recipe that samples it, and an arm that trains on
such a recipe gets each fold's images in that fold only. They are ordinary entries: every rule, path and
check knows them by their names, and a fold is part of the graph like anything else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, get_args

from mirage.config.folds import Folds
from mirage.config.recipes import RecipeConfig, RecipeEntry

BY_FOLD = ("unconditional", "mask_then_image")
"""Recipes that can be made by fold: they read no images of a dataset's training split themselves."""


def fold_name(name: str, index: int) -> str:
    """Name of the entry of one fold."""
    return f"{name}-fold-{index}"


def write_out(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration in which every entry that is made by fold is one entry a fold.

    Args:
        raw: registries of plain entries, not validated yet; anything odd is left for validation to find.

    Raises:
        ValueError: a recipe of a kind that cannot be made by fold, generators of one recipe whose folds
            differ, or a name that is taken.
    """
    counts: dict[str, int] = {}
    generators: dict[str, Any] = {}
    for name, entry in _entries(raw, "generators").items():
        folds = entry.get("folds") if isinstance(entry, Mapping) else None
        if folds is None:
            generators[name] = entry
            continue
        given = Folds.model_validate(folds)
        counts[name] = given.count
        own = {key: value for key, value in entry.items() if key not in ("folds", "fold")}
        for index in range(given.count):
            generators[fold_name(name, index)] = {**own, "fold": given.at(index).model_dump()}
    if not counts:
        return dict(raw)
    recipes, made = _recipes(_entries(raw, "recipes"), counts)
    for registry, before, after in (
        (
            "generators",
            _entries(raw, "generators"),
            [fold_name(n, i) for n in counts for i in range(counts[n])],
        ),
        ("recipes", _entries(raw, "recipes"), [fold_name(n, i) for n in made for i in range(made[n])]),
    ):
        taken = sorted(set(after) & before.keys())
        if taken:
            raise ValueError(f"{registry}.{taken[0]}: an entry made by fold has this name too; rename one")
    evaluations = {name: _evaluation(entry, made) for name, entry in _entries(raw, "evaluations").items()}
    return {**raw, "generators": generators, "recipes": recipes, "evaluations": evaluations}


def _entries(raw: Mapping[str, Any], registry: str) -> Mapping[str, Any]:
    found = raw.get(registry)
    return found if isinstance(found, Mapping) else {}


def _recipes(entries: Mapping[str, Any], counts: Mapping[str, int]) -> tuple[dict[str, Any], dict[str, int]]:
    """All recipes, those of generators by fold written out, and of the latter name -> number of folds."""
    result: dict[str, Any] = {}
    made: dict[str, int] = {}
    for name, entry in entries.items():
        used = _used(entry, counts) if isinstance(entry, Mapping) else {}
        if not used:
            result[name] = entry
            continue
        if entry["recipe"] not in BY_FOLD:
            raise ValueError(
                f"recipes.{name}: {entry['recipe']!r} cannot be made by fold, as its generator "
                f"{next(iter(used.values()))!r} is; {' and '.join(BY_FOLD)} can"
            )
        sizes = {counts[generator] for generator in used.values()}
        if len(sizes) > 1:
            raise ValueError(
                f"recipes.{name}: its generators have different numbers of folds, {sorted(sizes)}"
            )
        made[name] = sizes.pop()
        for index in range(made[name]):
            refs = {key: _in_fold(entry[key], index) for key in used}
            result[fold_name(name, index)] = {**entry, **refs}
    return result, made


def _used(entry: Mapping[str, Any], counts: Collection[str]) -> dict[str, str]:
    """Keys of a recipe that name a generator made by fold."""
    kinds: dict[str, type[RecipeEntry]] = {
        get_args(kind.model_fields["recipe"].annotation)[0]: kind
        for kind in get_args(get_args(RecipeConfig)[0])
    }
    kind = kinds.get(entry.get("recipe", ""))
    named = {key: _generator(entry.get(key)) for key in (kind.wants if kind else {})}
    return {key: name for key, name in named.items() if name in counts}


def _generator(ref: Any) -> Any:
    return ref.get("generator") if isinstance(ref, Mapping) else ref


def _in_fold(ref: Any, index: int) -> dict[str, Any]:
    given = dict(ref) if isinstance(ref, Mapping) else {"generator": ref}
    return {**given, "generator": fold_name(given["generator"], index)}


def _evaluation(entry: Any, made: Mapping[str, int]) -> Any:
    """An evaluation whose arms name each fold's images in place of a recipe that is made by fold."""
    arms = entry.get("arms") if isinstance(entry, Mapping) else None
    if not isinstance(arms, Mapping):
        return entry
    written = {
        name: {**arm, "train": [one for part in arm["train"] for one in _parts(part, made)]}
        if isinstance(arm, Mapping) and isinstance(arm.get("train"), list)
        else arm
        for name, arm in arms.items()
    }
    return {**entry, "arms": written}


def _parts(part: Any, made: Mapping[str, int]) -> list[Any]:
    name = part.get("data") if isinstance(part, Mapping) else part
    if not isinstance(name, str) or name not in made:
        return [part]
    given = dict(part) if isinstance(part, Mapping) else {}
    return [{**given, "data": fold_name(name, index), "fold": index} for index in range(made[name])]
