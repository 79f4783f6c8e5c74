"""Where a training runs: one Lightning Fabric, told its environment explicitly.

Importing Fabric takes seconds, which jobs that do not train are spared.
"""

from __future__ import annotations

import os
from datetime import timedelta

from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy

from mirage.config.base import Runtime
from mirage.errors import ConfigError
from mirage.training.device import accelerator


def launch(runtime: Runtime, precision: str) -> Fabric:
    """Fabric of this process: torchrun's ranks where it was started by torchrun, else one device.

    Slurm's variables are not looked at: inside a job they describe the allocation, not our processes.

    Raises:
        ConfigError: no such device, or it cannot compute in this precision.
    """
    device = accelerator(runtime.accelerator)
    if (device, precision) == ("cpu", "16-mixed") or (device == "mps" and precision != "32-true"):
        raise ConfigError(
            f"training.precision: {precision} is not available on {device}; "
            f"use 32-true{' or bf16-mixed' if device == 'cpu' else ''}"
        )
    if TorchElasticEnvironment.detect():
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        fabric = Fabric(
            accelerator=device,
            devices=local,
            num_nodes=int(os.environ["WORLD_SIZE"]) // local,
            strategy=DDPStrategy(
                process_group_backend="nccl" if device == "cuda" else "gloo",
                # The first rank validates alone while the others wait for it.
                timeout=timedelta(hours=2),
            ),
            precision=precision,
            plugins=[TorchElasticEnvironment()],
        )
    else:
        fabric = Fabric(accelerator=device, devices=1, precision=precision, plugins=[LightningEnvironment()])
    fabric.launch()
    return fabric
