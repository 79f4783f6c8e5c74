"""Classifiers: the networks that downstream classification trains, and what is done against imbalance."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mirage.config.base import Options
from mirage.config.generators import Augment

Balance = Literal["none", "class_weights", "focal", "smote", "borderline_smote", "adasyn", "jitter"]
OVERSAMPLED = ("smote", "borderline_smote", "adasyn", "jitter")
"""Ways that add positives made of the training positives, as many as a synthetic set would."""


class ClassifierOptions(Options):
    """A small convolutional network of two classes, or a ResNet-18, with one logit."""

    arch: Literal["cnn", "resnet18"] = Field(
        "cnn",
        description="cnn: stages of two 3 x 3 convolutions with batch norm, each halving the side, then the "
        "mean over places; resnet18: with a small stem",
    )
    width: int = Field(32, ge=2, description="channels of the first stage, doubled a stage")
    stages: int = Field(4, ge=1, le=7, description="cnn: stages; at most log2 of the images' side")
    dropout: float = Field(0.2, ge=0, lt=1, description="share of features dropped before the logit")
    lr: float = Field(1e-3, gt=0, description="AdamW's highest learning rate, which falls along a cosine")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW's weight decay")
    focal_gamma: float = Field(
        2.0, ge=0, description="`balance: focal`: how much sure images are played down"
    )
    focal_alpha: float = Field(
        0.75, gt=0, lt=1, description="`balance: focal`: weight of positives, 1 - x of negatives"
    )

    def check_size(self, side: int) -> None:
        """Refuse images that the network cannot halve so often.

        Raises:
            ValueError: says how often it can.
        """
        most = side.bit_length() - 1
        if self.arch == "cnn" and self.stages > most:
            raise ValueError(f"stages: {self.stages} halve the side, its data have {side}; at most {most}")


class OversamplingOptions(Options):
    """How positives are made of the training positives where an arm asks for it."""

    space: Literal["pixels", "pca"] = Field(
        "pca",
        description="where SMOTE and its kin interpolate: between pixels, or between principal components of "
        "the training positives, which takes far less memory. What is left out of the components is blurred",
    )
    components: int = Field(
        64, ge=1, description="pca: principal components; fewer where there are fewer positives"
    )
    neighbours: int = Field(5, ge=1, description="nearest positives of which one is interpolated to")
    jitter: Augment = Field(
        default_factory=lambda: Augment(rotate_deg=10, scale=0.1, gamma=0.1, brightness=0.1),
        description="`balance: jitter`: how copies of positives are changed",
    )
