"""Splits by subject, fixed before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from mirage import seeds
from mirage.config.datasets import SplitOptions
from mirage.errors import LeakError


def link_subjects(subjects: Iterable[str], hashes: Iterable[str]) -> dict[str, str]:
    """Subject -> representative of the group of subjects that share an exact duplicate image.

    Two subjects with a pixel-identical image are in truth one, or one's image was filed twice;
    either way they must stay on one side of the split.
    """
    parent: dict[str, str] = {}

    def find(subject: str) -> str:
        while parent[subject] != subject:
            parent[subject] = parent[parent[subject]]
            subject = parent[subject]
        return subject

    first_with: dict[str, str] = {}
    for subject, content in zip(subjects, hashes, strict=True):
        parent.setdefault(subject, subject)
        other = first_with.setdefault(content, subject)
        low, high = sorted((find(subject), find(other)))
        parent[high] = low
    return {subject: find(subject) for subject in parent}


def split_subjects(
    given: Iterable[tuple[str, str | None]],
    options: SplitOptions,
    where: str,
    groups: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Split of every subject of some items, see :func:`assign_splits`.

    Args:
        given: subject, and the source's own split (None: none given), of each item.
        options: shares and seed.
        where: dataset name, for the messages.
        groups: from :func:`link_subjects`; None before pixels are read: every subject by itself.
    """
    native: dict[str, set[str]] = {}
    for subject, split in given:
        native.setdefault(subject, set()).update([split] if isinstance(split, str) else [])
    return assign_splits(native, groups or {subject: subject for subject in native}, options, where)


def assign_splits(
    native: Mapping[str, set[str]], groups: Mapping[str, str], options: SplitOptions, where: str
) -> dict[str, str]:
    """Split of every subject.

    With ``by: hash`` a subject's own hash alone decides, so that two datasets with other images of one
    archive put it on one side; shares are then kept on average. The exception is a subject that shares an
    image with another in one of them only, where that one's hash decides; ``check_training`` refuses it.

    Otherwise subjects are ordered by a seeded hash of their group and cut at exact shares, so a dataset of
    ten children really has two of them in a test share of 0.2, and the same subject gets the same split
    however the dataset is prepared. A share above zero gets at least one group while one is left, and one is
    left for training unless all are asked for. A subject that the source marks as train may become val, where
    the source has no val, but never test.

    Args:
        native: subject -> the source's own splits of its items (empty set: none given).
        groups: subject -> group that must stay together, from :func:`link_subjects`.
        options: shares and seed.
        where: dataset name, for the messages.

    Raises:
        LeakError: the source itself puts one subject, or two with the same image, in two splits, or leaves
            none to test on.
    """
    members: dict[str, list[str]] = {}
    for subject, group in groups.items():
        members.setdefault(group, []).append(subject)
    if options.by == "hash":
        hashed = {group: _by_hash(group, options) for group in members}
        return {subject: hashed[group] for subject, group in groups.items()}
    result: dict[str, str] = {}
    free: list[str] = []
    kept: list[str] = []
    has_native_test = options.by == "source" and any("test" in splits for splits in native.values())
    has_native_val = options.by == "source" and any("val" in splits for splits in native.values())
    for group, subjects in members.items():
        given = set().union(*(native[subject] for subject in subjects))
        if options.by == "random" or not given:
            free.append(group)
        elif len(given) > 1:
            raise LeakError(
                f"dataset {where}: subjects {sorted(subjects)} are in the splits {sorted(given)} at once; "
                "a subject (or two with a pixel-identical image) must be in one. "
                "Mend the split column, or set `split.by: random`"
            )
        elif given == {"train"}:
            kept.append(group)
        else:
            result[group] = given.pop()
    for part in (free, kept):
        part.sort(key=lambda group: seeds.integer(options.seed, f"split/{group}"))
    total = len(members)
    test = 0 if has_native_test else _share(options.test, total, len(free) + (len(kept) > 0))
    if test and kept and not free:
        raise LeakError(
            f"dataset {where}: every subject is marked train or val, so none is left to test on; mark some "
            "as test, or set `split.test: 0`, or `split.by: random` to ignore the marks"
        )
    result |= dict.fromkeys(free[:test], "test")
    rest = [*free[test:], *kept]
    val = 0 if has_native_val else _share(options.val, len(rest), len(rest))
    result |= dict.fromkeys(rest[:val], "val")
    result |= dict.fromkeys(rest[val:], "train")
    return {subject: result[group] for subject, group in groups.items()}


def _by_hash(group: str, options: SplitOptions) -> str:
    """Split of a group (of its alphabetically first subject) by its own number in 0..1."""
    at = seeds.integer(options.seed, f"split/{group}") / 2**63
    if at < options.test:
        return "test"
    return "val" if at < options.test + options.val * (1 - options.test) else "train"


def _share(share: float, total: int, available: int) -> int:
    """Groups in a share: rounded, at least one if above zero, and one left for training if below 1."""
    wanted = max(1, round(share * total)) if share > 0 else 0
    return int(np.clip(wanted, 0, max(available - (share < 1), 0)))
