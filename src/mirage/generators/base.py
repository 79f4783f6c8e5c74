"""The base of all generators: what is trained, how it is sampled, and the one transform between them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from mirage.config.base import Options
from mirage.config.generators import Augment, ConditionValue
from mirage.data import Dataset, DatasetInfo, Item
from mirage.errors import ConfigError, DataError
from mirage.generators.attributes import AttributeTable, Values
from mirage.training.augment import augment as augmented
from mirage.training.previews import panel
from mirage.training.trainable import Trainable


@dataclass(frozen=True)
class ImageSpec:
    """What a generator must know of the data it learns from; stored in ``model.json``.

    Attributes:
        image_shape: (C, H, W) or (C, D, H, W) of the stored image.
        image_dtype: NumPy type of the stored image.
        value_range: lowest and highest possible stored value.
        channel_names: of the image.
        mask_channels: of the masks; empty without masks.
        labels: value of mask channel ``label`` -> name; 0 is background.
        modality: what the images are.
        spacing_mm: of the stored image, or None.
        attributes: of the items, where the generator is conditioned on them.
    """

    image_shape: tuple[int, ...]
    image_dtype: str
    value_range: tuple[float, float]
    channel_names: list[str]
    mask_channels: list[str]
    labels: dict[int, str]
    modality: str
    spacing_mm: tuple[float, ...] | None
    attributes: AttributeTable | None = None

    @classmethod
    def of(cls, info: DatasetInfo, attributes: AttributeTable | None = None) -> ImageSpec:
        """The specification of a dataset's images."""
        shared = {name: getattr(info, name) for name in cls.__dataclass_fields__ if name != "attributes"}
        return cls(**shared, attributes=attributes)

    def to_json(self) -> dict[str, Any]:
        """JSON-able form."""
        value = {**asdict(self), "labels": {str(value): name for value, name in self.labels.items()}}
        if self.attributes is None:
            del value["attributes"]
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ImageSpec:
        """Take back what ``to_json`` gave."""
        low, high = value["value_range"]
        return cls(
            **{
                **value,
                "image_shape": tuple(value["image_shape"]),
                "value_range": (low, high),
                "labels": {int(key): name for key, name in value["labels"].items()},
                "spacing_mm": None if value["spacing_mm"] is None else tuple(value["spacing_mm"]),
                "attributes": AttributeTable.from_json(value["attributes"])
                if "attributes" in value
                else None,
            }
        )


class Generator(Trainable):
    """A trainable model of images.

    Class attributes:
        arch: name in the configuration and the registry.
        options_class: its options.
        conditional: whether ``sample`` needs conditions.
        model_range: range of the tensors that ``sample`` returns.
        gpu_batch: items that a GPU samples at once.

    Args:
        options: the architecture's options.
        spec: the data it learns from.
    """

    arch: ClassVar[str]
    options_class: ClassVar[type[Options]]
    conditional: ClassVar[bool] = False
    model_range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    gpu_batch: ClassVar[int] = 8

    def __init__(self, options: Options, spec: ImageSpec) -> None:
        super().__init__()
        self.options: Any = options
        self.spec = spec
        self.image_shape = tuple(spec.image_shape)
        self.mask_channels = tuple(spec.mask_channels)

    @classmethod
    def usable(cls, options: Any, items: Dataset) -> Dataset:
        """The items that it can learn from."""
        return items

    @classmethod
    def spec_of(cls, options: Any, training: Dataset) -> ImageSpec:
        """What it must know of its training items.

        Raises:
            DataError: they lack what it is conditioned on.
        """
        return ImageSpec.of(training.info)

    @property
    def labels(self) -> dict[int, str]:
        """Value -> name of the labels to learn.

        Raises:
            DataError: the data have no label masks.
        """
        if "label" not in self.mask_channels or not self.spec.labels:
            raise DataError(
                f"{self.arch} learns from label masks, the data have the mask channels "
                f"{list(self.mask_channels)} and the labels {self.spec.labels}; name `masks` and `labels` in "
                "the dataset's source, or label it by a `pseudo_label` recipe"
            )
        return self.spec.labels

    @property
    def made_labels(self) -> dict[int, str]:
        """Value -> name of the label masks that ``decode`` gives; empty where it gives images."""
        return {}

    @property
    def shows_labels(self) -> bool:
        """Whether its discriminators are shown label masks, so that an item without one cannot be judged."""
        return self.conditional or bool(self.made_labels)

    @property
    def notes(self) -> dict[str, Any]:
        """What ``model.json`` and the report say of it beside its options; plain JSON."""
        return {}

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def unit(self, image: np.ndarray) -> Tensor:
        """Stored image (C, ...) to float32 in [0, 1] by the stored value range."""
        low, high = self.spec.value_range
        return torch.from_numpy((image.astype(np.float32) - np.float32(low)) / np.float32(high - low))

    def normalise(self, image: np.ndarray) -> Tensor:
        """Stored image (C, ...) to float32 in [-1, 1]."""
        return self.to_model_range(self.unit(image))

    @staticmethod
    def to_model_range(unit: Tensor) -> Tensor:
        """[0, 1] to [-1, 1]."""
        return unit * 2 - 1

    def denormalise(self, images: Tensor) -> np.ndarray:
        """Images (N, C, ...) in [-1, 1] to the stored type and value range, rounded."""
        low, high = self.spec.value_range
        values = (images.detach().float().cpu().numpy().clip(-1, 1) + 1) / 2 * (high - low) + low
        dtype = np.dtype(self.spec.image_dtype)
        return np.round(values).astype(dtype) if dtype.kind in "iu" else values.astype(dtype)

    def augmented(
        self, item: Item, rng: np.random.Generator | None, augment: Augment | None
    ) -> tuple[Tensor, np.ndarray | None]:
        """Image in [0, 1] and masks of an item, changed where both ``rng`` and ``augment`` are given.

        Around a field of view or a brain there is nothing; any other picture goes on beyond its border, and
        black corners would be learnt as part of it.
        """
        unit = self.unit(item.image)
        if rng is None or augment is None:
            return unit, item.masks
        stack = None if item.masks is None else torch.from_numpy(item.masks.copy())
        framed = {"fov", "brain"} & set(self.mask_channels)
        unit, stack = augmented(unit, stack, augment, rng, "zeros" if framed else "reflection")
        return unit, None if stack is None else stack.numpy()

    def mask(self, masks: np.ndarray | None, channel: str) -> np.ndarray:
        """One channel (H, W) or (D, H, W) of stored masks (M, ...).

        Raises:
            DataError: there is no such channel.
        """
        if masks is None or channel not in self.mask_channels:
            raise DataError(
                f"{self.arch} needs the mask channel {channel!r}, the data have {list(self.mask_channels)}"
            )
        found: np.ndarray = masks[self.mask_channels.index(channel)]
        return found

    def sample(self, conditions: Tensor | None, seeds: Sequence[int]) -> Tensor:
        """One image a seed; an item depends on its seed and condition only, not on its batch.

        On a CPU items are computed one by one, because convolution libraries choose their algorithm, and so
        the last bits, by the batch size; on a GPU in batches of a fixed size, the last one padded.

        Args:
            conditions: (N, C', ...) as from ``condition``, or None for an unconditional generator.
            seeds: N integers in [0, 2**63).

        Returns:
            (N, C, ...), float32 in model range, on the device of the weights.

        Raises:
            ValueError: conditions are missing, superfluous, or not as many as seeds.
        """
        if (conditions is not None) != self.conditional:
            raise ValueError(f"{self.arch} {'needs' if self.conditional else 'takes no'} conditions")
        if conditions is not None and len(conditions) != len(seeds):
            raise ValueError(f"{len(conditions)} conditions for {len(seeds)} seeds")
        chunk = 1 if self.device.type == "cpu" else self.gpu_batch
        training = self.training
        self.eval()
        made = []
        with torch.inference_mode():
            for start in range(0, len(seeds), chunk):
                batch = list(seeds[start : start + chunk])
                padding = [batch[-1]] * (chunk - len(batch))
                given = None
                if conditions is not None:
                    given = conditions[start : start + chunk].to(self.device)
                    given = torch.cat([given, given[-1:].expand(len(padding), *given.shape[1:])])
                made.append(self.draw(given, batch + padding)[: len(batch)].float())
        self.train(training)
        return torch.cat(made) if made else torch.empty(0, *self.sample_shape, device=self.device)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sampled item."""
        return self.image_shape

    @abstractmethod
    def draw(self, conditions: Tensor | None, seeds: Sequence[int]) -> Tensor:
        """One batch of samples, (N, C, ...) in model range, in evaluation mode."""

    def judge(self, batch: dict[str, Tensor]) -> Tensor:
        """How real the discriminators find items: sums of their mean logits (N,), in evaluation mode.

        Args:
            batch: as from ``example``, with a batch axis, on the device of the weights.
        """
        raise ValueError(f"{self.arch} has no discriminator")

    def condition(self, item: Item) -> Tensor:
        """A stored item to the condition of one sample; the same in training and sampling."""
        raise ValueError(f"{self.arch} takes no conditions")

    def check_attributes(self, given: Values) -> None:
        """Refuse attributes to be conditioned on that it has not learnt.

        Raises:
            DataError: says which it has.
        """
        if given:
            raise DataError(
                f"conditions: {self.arch} is not conditioned on attributes, found {sorted(given)}"
            )

    def draw_attributes(self, seed: int, given: Values) -> dict[str, ConditionValue | None]:
        """Attributes of one sample: those given, the others drawn; none where it has no such conditions."""
        return {}

    def condition_of_attributes(self, drawn: Sequence[Values]) -> Tensor | None:
        """Attributes to conditions (N, ...); None where it has no such conditions."""
        return None

    def sample_freely(self, seeds: Sequence[int]) -> Tensor:
        """As ``sample``, with attributes as the training items have them where it is conditioned on such."""
        drawn = [self.draw_attributes(seed, {}) for seed in seeds]
        return self.sample(self.condition_of_attributes(drawn), seeds)

    def condition_of_label(self, label: np.ndarray) -> Tensor:
        """A label mask (H, W), uint8, to the condition of one sample, where that is all a condition holds."""
        raise ValueError(f"{self.arch} is not conditioned on label masks")

    @abstractmethod
    def decode(self, images: Tensor) -> np.ndarray:
        """What ``sample`` returned, to stored images (N, C, ...) or label masks (N, 1, ...), uint8."""

    def picture(self, image: np.ndarray) -> np.ndarray:
        """Preview panel (H, W, 3) of a stored image."""
        return panel(image, *self.spec.value_range)


def square_side(arch: str, spec: ImageSpec) -> int:
    """Side in pixels of the images that a 2D generator learns from.

    Raises:
        ConfigError: volumes, or images that are not square.
    """
    _, *extent = spec.image_shape
    if len(extent) != 2 or extent[0] != extent[1]:
        raise ConfigError(f"arch: {arch} needs square 2D images, the data are {spec.image_shape}")
    return extent[0]


def mean_logits(logits: Tensor) -> Tensor:
    """Mean (N,) over all that a discriminator says of each item: one logit, or one a patch."""
    return logits.reshape(len(logits), -1).mean(dim=1)


def noise_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One CPU random number generator a seed, the same on every device."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def adam(
    parameters: Sequence[nn.Parameter], lr: float, beta1: float, beta2: float = 0.999
) -> torch.optim.Adam:
    """Adam, fused where PyTorch can: several times faster than the plain one on a CPU."""
    fused = parameters[0].device.type in ("cpu", "cuda")
    return torch.optim.Adam(parameters, lr, (beta1, beta2), fused=fused)
