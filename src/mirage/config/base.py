"""What all configuration models share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

NAME = r"[a-z0-9][a-z0-9_-]*"
Name = Annotated[str, StringConstraints(pattern=f"^{NAME}$")]
"""Name of an entry or an arm: lower case letters, digits, _ and -; part of a path."""
Seed = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Refers:
    """Marks a field whose value (or values), unless it is None, must be names of a registry.

    A ``dataset`` is one of real or simulated images: none that says ``made_from``.
    """

    registry: Literal["dataset", "dataset or recipe", "generator", "encoder", "evaluation", "publication"]


DataName = Annotated[str, Refers("dataset or recipe")]
RealName = Annotated[str, Refers("dataset")]
SOMEBODY = "*"
"""Subject that nobody can name: ``nih_chest/*`` is one of the archive ``nih_chest``, and not known which."""


class Options(BaseModel):
    """Immutable options; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(Options):
    """A training split or a part of it; a smaller one lies inside a larger one (of one seed, if any)."""

    images: int | None = Field(None, ge=1, description="only so many training images, by subject; none: all")
    share: float | None = Field(
        None, gt=0, lt=1, description="only this share of the training images, by subject; none: all"
    )

    @model_validator(mode="after")
    def _one_part(self) -> Self:
        if self.images is not None and self.share is not None:
            raise ValueError("images and share are two ways to ask for a part; give one")
        return self

    def images_of(self, total: int) -> int:
        """How many of a training split's ``total`` images are taken; more than there are where so asked."""
        return self.images or (total if self.share is None else max(1, round(self.share * total)))


class Runtime(Options):
    """Where and how long a job runs. Never changes a result, so never remakes one."""

    accelerator: str = Field(
        "auto", pattern="^(auto|cpu|gpu|mps)$", description="auto takes a GPU when there is one"
    )
    gpus: int = Field(0, ge=0, description="GPUs asked for; more than 1 trains under torchrun")
    threads: int = Field(1, ge=1, description="CPU threads of the job")
    workers: int = Field(0, ge=0, description="processes that load training items, beside the main one")
    minutes: int = Field(
        240, ge=1, description="wall time asked for, minutes; training stops before it and is resumed"
    )
    mem_mb: int = Field(4000, ge=100, description="memory asked for, MB")


class Entry(Options):
    """A named entry of a registry.

    ``volumes`` is whether it is for volumes (True), for 2D images (False) or for both (None).
    """

    volumes: ClassVar[bool | None] = None

    runtime: Runtime = Field(default_factory=Runtime, description="resources; never remakes anything")
    demo: dict[str, Any] = Field(
        default_factory=dict, description="keys of this entry that `scale: demo` replaces, merged deeply"
    )


class ModelRef(Options):
    """A trained generator: its name, or its name and the seed it was trained with."""

    generator: Annotated[str, Refers("generator")] = Field(description="name under `generators`")
    seed: int = Field(0, ge=0, description="training seed")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"generator": value} if isinstance(value, str) else value


def walk(value: Any, key: str = "") -> Iterator[tuple[str, Options]]:
    """Every options object inside an entry, itself first, with its key."""
    if isinstance(value, Options):
        yield key, value
        for name in type(value).model_fields:
            yield from walk(getattr(value, name), f"{key}.{name}" if key else name)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from walk(item, f"{key}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from walk(item, f"{key}[{index}]")


def references(entry: Options) -> Iterator[tuple[str, str, str]]:
    """(key, registry, name) of every other entry that one names."""
    for key, options in walk(entry):
        for name, field in type(options).model_fields.items():
            for marker in field.metadata:
                if isinstance(marker, Refers):
                    value = getattr(options, name)
                    where = f"{key}.{name}" if key else name
                    for item in value if isinstance(value, list) else [value]:
                        if item is not None:
                            yield where, marker.registry, item


def models_of(entry: Options) -> list[ModelRef]:
    """Every trained generator that an entry uses, once."""
    found = (options for _, options in walk(entry) if isinstance(options, ModelRef))
    return list(dict.fromkeys(found))
