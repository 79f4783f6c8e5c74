"""What all configuration models share."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Options(BaseModel):
    """Immutable options; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
    state_minutes: float = Field(
        5.0, gt=0, description="wall time between two saves of the resumable training state, minutes"
    )
    mem_mb: int = Field(4000, ge=100, description="memory asked for, MB")


class Entry(Options):
    """A named entry of a registry."""

    runtime: Runtime = Field(default_factory=Runtime, description="resources; never remakes anything")
    demo: dict[str, Any] = Field(
        default_factory=dict, description="keys of this entry that `scale: demo` replaces, merged deeply"
    )
