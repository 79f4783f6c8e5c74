"""3D label maps to MRI: the tumour of one subject on the brain of another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from mirage.config.generators import Augment, LabelToBrainOptions
from mirage.data import Item, Items
from mirage.data.manifest import ABSENT
from mirage.errors import ConfigError, DataError
from mirage.generators.base import Generator, ImageSpec, adam, mean_logits, noise_generators
from mirage.generators.brain_code import BrainCode
from mirage.networks.patch3d import PatchDiscriminator3D
from mirage.networks.unet3d import UNet3D
from mirage.training.losses import least_squares, mean_inside
from mirage.training.previews import panel, triplanar

COARSE = 4
"""How many voxels an axis the discriminator of the whole volume averages where another sees crops."""


class LabelToBrain(Generator):
    """A 3D U-Net draws all sequences of a brain from a label map, against 3D patch discriminators (LSGAN).

    A batch of n subjects gives n / 2 pairs: the tumours of its second half are put on the brains of its first
    half, cut off at the brain's edge. With ``matched`` the generator makes every brain of the first half
    twice: with its own label, which is held to the real image by L1 and shown to the discriminators beside
    it, and with the other's tumour, which only has to please the discriminators. Without, it makes the mixed
    ones only, and discriminators tell them from real images with their own labels, as published.

    A step updates the generator and then, with the same fakes, the discriminators: n / 2 items for each, and
    as many updates of the one as of the other. Voxels outside the brain are -1, in what is made and in what
    is learnt from.

    Args:
        options: networks, losses, condition.
        spec: volumes with the mask channels ``label`` and ``brain``.

    Raises:
        ConfigError: images instead of volumes, sizes that the networks cannot halve, labels without a code.
        DataError: the data have no labels or no brain masks.
    """

    arch = "label_to_brain"
    options_class = LabelToBrainOptions
    conditional = True
    phases = ("generator", "discriminator")
    sampling_modules = ("generator",)
    spatial_dims = 3
    gpu_batch = 1
    # Halves a step there; on a GPU instance norm would undo the layout each time.
    channels_last = "cpu"
    distinct_items = True
    metric_name = "val_l1"
    metric_mode = "min"

    def __init__(self, options: LabelToBrainOptions, spec: ImageSpec) -> None:
        super().__init__(options, spec)
        channels, *extent = self.image_shape
        if len(extent) != 3:
            raise ConfigError(
                f"arch: {self.arch} needs volumes (C, D, H, W), the data are {self.image_shape}"
            )
        try:
            options.check_size(tuple(extent))
        except ValueError as error:
            raise ConfigError(str(error)) from error
        if "brain" not in self.mask_channels:
            raise DataError(
                f"{self.arch} needs the mask channel 'brain', the data have {list(self.mask_channels)}; "
                "prepare them with `kind: volume`"
            )
        self.extent = tuple(extent)
        self.code = BrainCode(self.labels, options.coding)
        self.generator = UNet3D(
            self.code.channels + options.noise_channels,
            channels,
            options.f_maps,
            options.levels,
            options.order,
            options.affine,
            options.spectral_norm == "both",
            options.checkpointing,
        )
        self.discriminator = nn.ModuleDict({view: self._discriminator(view) for view in self._view_extents()})

    def _view_extents(self) -> dict[str, tuple[int, ...]]:
        """What each discriminator sees, and how many voxels that has an axis."""
        options = self.options
        if options.discriminate == "whole":
            extents = {"whole": self.extent}
        else:
            extents = {"crop": _cut(self.extent, options.crop)}
            extents["coarse"] = tuple(side // COARSE for side in self.extent)
        return extents | ({"local": _cut(self.extent, options.local_crop)} if options.local_crop else {})

    def _discriminator(self, view: str) -> PatchDiscriminator3D:
        """The discriminator of one view.

        Raises:
            ConfigError: it would have nothing left at its coarsest level.
        """
        options, extent = self.options, self._view_extents()[view]
        levels = options.discriminator_levels
        lowest = [side >> (levels - 1) for side in extent]
        if min(lowest) < 1 or ("i" in options.discriminator_order and max(lowest) == 1):
            raise ConfigError(
                f"options.discriminator_levels: {levels} leave nothing of the {list(extent)} voxels that the "
                f"discriminator `{view}` sees; use fewer levels or a larger crop"
            )
        return PatchDiscriminator3D(
            self.code.channels + self.image_shape[0],
            options.discriminator_f_maps,
            levels,
            options.discriminator_order,
            options.affine,
            options.spectral_norm != "none",
            options.checkpointing,
        )

    def maps(self, masks: np.ndarray | None) -> tuple[Tensor, Tensor]:
        """Label map and brain mask (D, H, W), uint8, of stored masks.

        Raises:
            DataError: a channel is not there or, for this item, absent or empty; a value that is no label.
        """
        label, brain = self.mask(masks, "label"), self.mask(masks, "brain")
        known = [0, *self.code.values]
        odd = sorted(set(np.flatnonzero(np.bincount(label.ravel(), minlength=1)).tolist()) - set(known))
        if odd:
            raise DataError(
                f"{self.arch}: a label map holds {odd}, the labels are {self.code.values}; correct the "
                "source's label codes, or set `prepare.require_mask: true` to leave out items without a label"
            )
        if not brain.any() or brain.max() == ABSENT:
            raise DataError(f"{self.arch}: an item's brain mask is empty or absent; prepare the data again")
        # Copies: stored masks are read-only views, and an augmented mask may be one of a flipped array.
        return torch.from_numpy(label.copy()), torch.from_numpy((brain > 0).astype(np.uint8))

    def condition(self, item: Item) -> Tensor:
        """The item's label map on its brain mask to (C', D, H, W)."""
        label, brain = self.maps(item.masks)
        return self.code.encode(label[None], brain[None])[0]

    def example(
        self, item: Item, rng: np.random.Generator | None = None, augment: Augment | None = None
    ) -> dict[str, Tensor]:
        """``real`` (C, D, H, W) in [-1, 1], ``label`` and ``brain`` (D, H, W), uint8.

        The condition is made of the last two when it is known whose tumour is put on whose brain.
        """
        unit, masks = self.augmented(item, rng, augment)
        label, brain = self.maps(masks)
        return {"real": self.to_model_range(unit * brain), "label": label, "brain": brain}

    def training_step(self, batch: dict[str, Tensor], phase: str) -> dict[str, Tensor]:
        if phase == "generator":
            return self._generator_step(batch)
        return self._discriminator_step(batch)

    def _generator_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of the generator; leaves in the batch what the discriminators compare.

        Raises:
            ConfigError: an odd number of subjects.
        """
        count = len(batch["label"])
        if count % 2:
            raise ConfigError(
                f"training.batch_size: {count} subjects a device and micro-batch are no whole number of "
                f"pairs; {self.arch} needs an even number"
            )
        label, brain, half = batch["label"], batch["brain"], count // 2
        real = batch["real"][:half]
        own = self.code.encode(label[:half], brain[:half])
        mixed = self.code.encode(label[half:], brain[:half])
        wanted = torch.cat([own, mixed]) if self.options.matched else mixed
        made = self._make_all(wanted)
        judged = self._judge(wanted, made)
        losses = {f"generator_{view}": least_squares(logits, 1) for view, logits in judged.items()}
        if self.options.matched:
            error = (made[:half] - real).abs()
            losses["l1"] = self.options.l1_weight * mean_inside(error, self.code.brain(own))
        batch |= {"real_shown": real, "real_condition": own}
        batch |= {"fake_shown": made[:half].detach(), "fake_condition": wanted[:half]}
        return losses

    def _discriminator_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of the discriminators: half the squared distance to 1 of real and to 0 of made images."""
        conditions = torch.cat([batch["real_condition"], batch["fake_condition"]])
        images = torch.cat([batch["real_shown"], batch["fake_shown"]])
        losses = {}
        for view, logits in self._judge(conditions, images).items():
            real, fake = logits.chunk(2)
            losses[f"real_{view}"] = least_squares(real, 1) / 2
            losses[f"fake_{view}"] = least_squares(fake, 0) / 2
        return losses

    def _make_all(self, conditions: Tensor) -> Tensor:
        """Volumes of conditions in training: at once, or one by one where memory is short."""
        count = self.options.noise_channels
        noise = torch.randn(len(conditions), count, *self.extent, device=conditions.device)
        size = 1 if self.options.checkpointing else len(conditions)
        pieces = zip(conditions.split(size), noise.split(size), strict=True)
        return torch.cat([self._make(*piece) for piece in pieces])

    def _make(self, conditions: Tensor, noise: Tensor) -> Tensor:
        """Conditions and noise to volumes (N, C, D, H, W) in [-1, 1], -1 outside the brain."""
        made = torch.tanh(self.generator(torch.cat([conditions, noise], dim=1)).float())
        return torch.where(self.code.brain(conditions), made, -1.0)

    def _judge(self, conditions: Tensor, images: Tensor) -> dict[str, Tensor]:
        """Logits of every discriminator for conditions and images (N, ..., D, H, W).

        Crops lie at random places, drawn anew in each call.
        """
        both, crop, local = torch.cat([conditions, images], dim=1), self.options.crop, self.options.local_crop
        logits = {}
        for view, network in self.discriminator.items():
            if view == "coarse":
                seen = functional.avg_pool3d(both, COARSE)
            elif view == "whole":
                seen = both
            else:
                side, share = (local, 1.0) if view == "local" else (crop, 0.5)
                pairs = zip(both, conditions, strict=True)
                seen = torch.stack([self._crop(*pair, side, share) for pair in pairs])
            logits[view] = network(seen)
        return logits

    def judge(self, batch: dict[str, Tensor]) -> Tensor:
        """Crops lie at random places, and the noise that chooses them is that of PyTorch."""
        judged = self._judge(self.code.encode(batch["label"], batch["brain"]), batch["real"])
        return torch.stack([mean_logits(logits) for logits in judged.values()]).sum(dim=0)

    def _crop(self, volume: Tensor, condition: Tensor, side: int, share: float) -> Tensor:
        """Cut a cube out of a volume (C, D, H, W), around a voxel of the tumour or of the brain.

        Args:
            volume: what is cut.
            condition: (C', D, H, W), which says where tumour and brain are.
            side: of the cube; cut to the volume's.
            share: probability that it is a voxel of the tumour, if there is one.
        """
        places = self.code.brain(condition[None])[0, 0]
        if torch.rand(()).item() < share:
            tumour = self.code.tumour(condition[None])[0, 0]
            places = tumour if tumour.any() else places
        voxels = places.nonzero()
        centre = voxels[int(torch.randint(len(voxels), ()))].tolist()
        window = [slice(None)]
        for place, extent in zip(centre, self.extent, strict=True):
            length = min(side, extent)
            start = min(max(place - length // 2, 0), extent - length)
            window.append(slice(start, start + length))
        return volume[tuple(window)]

    def configure_optimizer(self, phase: str, parameters: Iterable[nn.Parameter]) -> Optimizer:
        lr = self.options.lr_generator if phase == "generator" else self.options.lr_discriminator
        return adam(list(parameters), lr, self.options.beta1)

    def draw(self, conditions: Tensor | None, seeds: Sequence[int]) -> Tensor:
        assert conditions is not None
        shape = (self.options.noise_channels, *self.extent)
        noise = [torch.randn(shape, generator=generator) for generator in noise_generators(seeds)]
        return self._make(conditions, torch.stack(noise).to(conditions.device))

    def decode(self, images: Tensor) -> np.ndarray:
        return self.denormalise(images)

    def validation_metric(self, validation: Items, training: Items) -> dict[str, float]:
        """``val_l1``: mean absolute difference to the real brain from its own label, in [-1, 1] units."""
        errors = []
        for index in range(len(validation)):
            item = validation.item(index)
            condition, real = self.condition(item)[None], self.example(item)["real"]
            made = self.sample(condition, [index]).cpu()
            errors.append(mean_inside((made - real).abs(), self.code.brain(condition)))
        return {self.metric_name: float(torch.stack(errors).mean())}

    def preview(self, items: Sequence[Item]) -> np.ndarray:
        """Two rows an item: its label map and what is made of it, its brain mask and the real sequences.

        The slices go through the middle of the tumour, of the volume where there is none.
        """
        rows = []
        for index, item in enumerate(items):
            made = self.decode(self.sample(self.condition(item)[None], [index]))[0]
            label, brain = self.mask(item.masks, "label"), self.mask(item.masks, "brain")
            tumour = np.argwhere(label > 0)
            centre = tumour.mean(axis=0).astype(int).tolist() if len(tumour) else None
            for mask, top, volume in ((label, max(self.labels), made), (brain, 1, item.image)):
                sheets = triplanar(volume, centre)
                shown = [panel(triplanar(mask[None], centre), 0, top)]
                rows.append(np.stack([*shown, *(self.picture(sheet[None]) for sheet in sheets)]))
        return np.stack(rows)


def _cut(extent: tuple[int, ...], side: int) -> tuple[int, ...]:
    """Extent of a cube that may be larger than the volume."""
    return tuple(min(side, length) for length in extent)
