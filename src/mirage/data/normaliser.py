"""The normaliser of a dataset: what was learnt of its training images' grey values, and of whose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mirage.errors import DataError, LeakError
from mirage.files import digest, read_json, write_json

SHOWN = 8


class Normaliser(BaseModel):
    """Contents of ``normaliser.json``."""

    model_config = ConfigDict(extra="forbid")

    dataset: str = Field(description="whose training images it was fitted on")
    namespace: str = Field(description="what its subjects are unique within")
    options: dict[str, Any] = Field(description="method and its options")
    standard: list[float] = Field(description="mean over the images: landmarks or quantiles, 0..1")
    items: list[str] = Field(description="the images that it was fitted on")
    subjects: list[str] = Field(description="whose they are")
    splits: dict[str, str] = Field(
        description="subject -> train, val, test, of all that the source lists; the dataset keeps them"
    )
    provenance: dict[str, Any] = Field(default_factory=dict, description="stage, code, options, seed")
    fingerprint: str = Field("", description="hash of what it does and of whom it knows")

    def learnt_from(self) -> set[str]:
        """Namespaced subjects (``namespace/subject``) that it knows of."""
        return {f"{self.namespace}/{subject}" for subject in self.subjects}

    def print_of(self) -> str:
        """Hash of method, standard, items and subjects."""
        parts = (self.options, self.standard, self.items, self.subjects, self.namespace)
        return digest(list(parts))

    def check_subjects(self, splits: Mapping[str, str], namespace: str, name: str) -> None:
        """Refuse a dataset that holds out a subject which this has learnt from.

        Args:
            splits: subject -> split, of the dataset.
            namespace: of these subjects.
            name: the dataset's, for the message.

        Raises:
            LeakError: names them.
        """
        known = set(self.subjects) if namespace == self.namespace else set()
        check_training_only({subject: splits[subject] for subject in known & splits.keys()}, name)

    def write(self, path: Path) -> None:
        """Write as JSON, atomically, with its fingerprint."""
        stamped = self.model_copy(update={"fingerprint": self.print_of()})
        write_json(path, stamped.model_dump(mode="json"))


def check_training_only(splits: Mapping[str, str], name: str) -> None:
    """Refuse to fit a normaliser on held-out subjects, or to use one that was.

    Args:
        splits: subject -> split, of those that it is fitted on.
        name: the dataset's, for the message.

    Raises:
        LeakError: names those that are not in training.
    """
    held_out = sorted(subject for subject, split in splits.items() if split != "train")
    if held_out:
        more = f" and {len(held_out) - SHOWN} more" if len(held_out) > SHOWN else ""
        listed = ", ".join(f"{subject} ({splits[subject]})" for subject in held_out[:SHOWN])
        raise LeakError(
            f"dataset {name}: its normaliser is fitted on subjects that are held out: {listed}{more}. A "
            "normaliser may know training subjects only; give all datasets of the archive the same `split` "
            "with `by: hash`, and leave images out that two subjects share (`source.exclude`)"
        )


def read_normaliser(path: Path) -> Normaliser:
    """Read a normaliser.

    Raises:
        DataError: not there, or changed after it was written.
    """
    try:
        found = Normaliser.model_validate(read_json(path))
    except (OSError, ValueError, ValidationError) as error:
        raise DataError(f"{path}: not a readable normaliser ({error}); delete it and run again") from error
    if found.fingerprint != found.print_of():
        raise DataError(f"{path}: was changed after it was written; delete it and run again")
    return found
