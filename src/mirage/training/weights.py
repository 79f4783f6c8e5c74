"""Files of published weights that the user has downloaded.

Nothing of a file is executed: it is read as tensors alone, and has to fit its network name by name and shape
by shape.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mirage.errors import CheckpointError
from mirage.files import file_digest

SEQUENCE = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool")
"""Names of the parts of a ResNet where a file numbers them."""


def read_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    """Tensors by name of a file of weights; names lose a leading ``module.``.

    Raises:
        CheckpointError: it is missing, another file than the SHA-256 says, or holds more than tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; docs/encoders.md says where the weights are to be had")
    found = file_digest(path)
    if found != sha256:
        raise CheckpointError(
            f"{path}: SHA-256 is {found}, expected {sha256}; it is another file, or was not downloaded whole"
        )
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(
            f"{path}: no file of tensors alone ({error}); save its state_dict with torch.save"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, Mapping) else {}
    named = {key.removeprefix("module."): value for key, value in state.items() if isinstance(value, Tensor)}
    return {_spelled(key): value for key, value in named.items()}


def _spelled(key: str) -> str:
    """A parameter's name where a file numbers the parts of a ResNet: ``backbone.4.0`` is ``layer1.0``."""
    first, _, rest = key.partition(".")
    number, _, rest = rest.partition(".")
    return f"{SEQUENCE[int(number)]}.{rest}" if first == "backbone" and number.isdigit() else key


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], unused: tuple[str, ...]) -> None:
    """Load weights that have to fit by name and shape.

    Raises:
        CheckpointError: names or shapes differ; says which.
    """
    own = {
        key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")
    }
    given = {
        key: value
        for key, value in state.items()
        if not key.startswith(unused or ("\0",)) and not key.endswith("num_batches_tracked")
    }
    problems = [f"{key} is missing" for key in own.keys() - given.keys()]
    problems += [f"{key} is unknown" for key in given.keys() - own.keys()]
    problems += [
        f"{key} is {tuple(given[key].shape)}, not {tuple(own[key].shape)}"
        for key in own.keys() & given.keys()
        if own[key].shape != given[key].shape
    ]
    if problems:
        raise CheckpointError(
            f"the weights do not fit the network: {len(problems)} of {len(own)} parameters differ, such as "
            f"{'; '.join(sorted(problems)[:3])}. Name the file of this very network"
        )
    network.load_state_dict(given, strict=False)
