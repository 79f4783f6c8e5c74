"""What an evaluation of privacy injects to test itself, and the limits of its release gate."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mirage.config.base import Options

Share = Annotated[float, Field(ge=0, le=1)]


class CopyControl(Options):
    """Copies of training images that are put among the synthetic ones: the positive control."""

    shares: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        default_factory=lambda: [0.01, 0.05, 0.2],
        min_length=1,
        description="numbers of copies, as shares of the number of synthetic items that are searched; at "
        "least one copy each. The gate goes by the largest, which holds the copies of all others",
    )
    noise: float = Field(
        0.05, ge=0, le=1, description="standard deviation of the noise on a copy, share of the value range"
    )
    brightness: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="a copy is made brighter or darker by a factor drawn from 1 - this to 1 + this",
    )


class Gate(Options):
    """Limits of the release gate; a limit whose interval holds it is inconclusive."""

    flagged: Share = Field(
        0.05,
        description="by how much the share of synthetic items that the copy detector flags may exceed that "
        "of held-out real ones",
    )
    near_copies: Share = Field(
        0.05,
        description="by how much the share of synthetic images that are near copies (see `near`) may exceed "
        "that of held-out real ones",
    )
    recall: Share = Field(
        0.9, description="share of the injected copies that a detector has to find for its word to count"
    )
    dcr_margin: float = Field(
        0.05,
        ge=0,
        le=0.5,
        description="how far above 0.5 the share of synthetic items that lie nearer to training than to as "
        "many held-out items may be; it can fail a release and never pass it",
    )
    attack_auc: float = Field(
        0.55, ge=0.5, le=1, description="a membership attack fails the release whose AUC lies surely above"
    )
    attack_auc_pass: float = Field(
        0.6, ge=0.5, le=1, description="attacks pass the release whose AUCs all lie surely below"
    )
    duplicates: Share = Field(
        0.05, description="share of synthetic items that repeat an earlier one exactly, in some orientation"
    )
    reidentified: Share = Field(
        0.05, description="share of synthetic masks that match one training patient's (see `same_mask`)"
    )
