"""A Slurm cluster of one node and two pretended GPUs for tests, with configuration and keys of its own.

    python tests/cluster/node.py FOLDER COMMAND ...

installs Debian's packages where they are missing (as root), runs the command with the node up, and takes the
node down again. Beside the packages nothing outside FOLDER is written, and a machine that has a Slurm of its
own is refused.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PACKAGES = ("munge", "slurmctld", "slurmd", "slurm-client")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
CONFIGURATIONS = ("/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf", "/usr/local/etc/slurm.conf")
GPUS = ("/dev/tty1", "/dev/tty2")
"""Slurm counts GPUs by device file; these are there on any Linux with consoles, and nothing opens them."""

HOST = socket.gethostname().partition(".")[0]

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
StateSaveLocation={folder}/state
SlurmdPidFile={folder}/slurmd.pid
SlurmdLogFile={folder}/slurmd.log
SlurmdSpoolDir={folder}/spool
SlurmdParameters=config_overrides
ReturnToService=2
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
AccountingStorageType=accounting_storage/none
# A job that uses more memory than it asked for is killed, as control groups do it elsewhere.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
# Starting Python twice is a large part of one minute, the shortest time limit.
OverTimeLimit=3
# Tests ask about jobs that are long over.
MinJobAge=3600
NodeName={host} NodeAddr=127.0.0.1 Port={node_port} CPUs=4 RealMemory=64000 Gres=gpu:2 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes={host} MaxTime=INFINITE State=UP
"""
DEVICES = "AutoDetect=off\nNodeName={host} Name=gpu File={files}\n"


class NoNodeError(Exception):
    """There can be no node on this machine, and why."""


class Node:
    """The running node.

    Attributes:
        environment: variables by which every command of Slurm finds the node.
    """

    def __init__(self, folder: Path) -> None:
        self.environment = {
            "SLURM_CONF": f"{folder}/slurm.conf",
            "PATH": f"{folder}/bin{os.pathsep}{os.environ['PATH']}",
        }

    def ask(self, *command: str) -> str:
        """Output of one of Slurm's commands.

        Raises:
            CalledProcessError: it failed.
        """
        environment = {**os.environ, **self.environment}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    def jobs(self) -> list[dict[str, str]]:
        """What Slurm knows of every job since the node is up, oldest first."""
        lines = self.ask("scontrol", "--oneliner", "show", "job").splitlines()
        found = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines if line.startswith("JobId=")]
        return sorted(found, key=lambda job: int(job["JobId"]))

    def drain(self) -> None:
        """Let nothing new start."""
        self.ask("scontrol", "update", f"nodename={HOST}", "state=drain", "reason=maintenance")

    def resume(self) -> None:
        """Let jobs start again."""
        self.ask("scontrol", "update", f"nodename={HOST}", "state=resume")


def wait_until(holds: Callable[[], object], what: str, seconds: float) -> None:
    """Return once ``holds()`` is true.

    Raises:
        TimeoutError: it was not within ``seconds``.
    """
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.3)


def install() -> None:
    """Install Slurm from Debian's packages unless it is there.

    Raises:
        NoNodeError: not possible here, or the machine has a Slurm of its own.
    """
    for place in (os.environ.get("SLURM_CONF"), *CONFIGURATIONS):
        if place and Path(place).exists():
            raise NoNodeError(f"this machine has a Slurm already: {place}")
    if os.geteuid() != 0:
        raise NoNodeError("only root can run a node for tests")
    for device in GPUS:
        if not Path(device).is_char_device():
            raise NoNodeError(f"no {device} to stand for a GPU")
    if all(map(shutil.which, PROGRAMS)):
        return
    if shutil.which("apt-get") is None:
        raise NoNodeError("Slurm is not installed, and this is no Debian to install it from")
    for command in (("update",), ("install", "--yes", "--no-install-recommends", *PACKAGES)):
        done = subprocess.run(
            ["apt-get", "--quiet", *command],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
    if done.returncode:
        raise NoNodeError(f"Debian's packages of Slurm could not be installed:\n{done.stdout[-500:]}")


@contextmanager
def node(folder: Path) -> Iterator[Node]:
    """A node within the block, whose files all lie in ``folder``.

    Raises:
        TimeoutError: it did not come up; the daemons' logs in the folder say why.
    """
    configure(folder)
    running, configuration = Node(folder), f"{folder}/slurm.conf"
    with ExitStack() as daemons:
        daemons.enter_context(_daemon(folder, *_munged(folder)))
        wait_until((folder / "munge.socket").exists, "munged", 20)
        daemons.enter_context(_daemon(folder, "slurmctld", "-D", "-f", configuration))
        daemons.enter_context(_daemon(folder, "slurmd", "-D", "-f", configuration))
        wait_until(lambda: _state(running) == "idle", f"the node in {folder}", 60)
        try:
            yield running
        finally:
            running.ask("scancel", "--user=root")
            wait_until(lambda: not running.ask("squeue", "--noheader"), "end of the last jobs", 60)


def configure(folder: Path) -> None:
    """Write the node's files."""
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir(parents=True)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    ports = dict(zip(("controller_port", "node_port"), _free_ports(2), strict=True))
    configuration = folder / "slurm.conf"
    configuration.write_text(CONFIGURATION.format(host=HOST, folder=folder, **ports), encoding="utf-8")
    devices = DEVICES.format(host=HOST, files=",".join(GPUS))
    (folder / "gres.conf").write_text(devices, encoding="utf-8")
    # Snakemake's plugin takes SLURM_CONF out of a job's environment before it calls srun.
    srun = folder / "bin" / "srun"
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={configuration} exec {shutil.which("srun")} "$@"\n')
    srun.chmod(0o755)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _munged(folder: Path) -> list[str]:
    files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "log", "pid", "seed")]
    return ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files]


@contextmanager
def _daemon(folder: Path, *command: str) -> Iterator[None]:
    """A process within the block, which also ends when this one is killed."""
    bound = ("setpriv", "--pdeathsig", "TERM", *command)
    with open(folder / f"{command[0]}.out", "wb") as out:
        process = subprocess.Popen(bound, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _state(running: Node) -> str:
    """State of the node, or nothing while the controller does not answer."""
    try:
        return running.ask("sinfo", "--noheader", "--partition=cpu", "--format=%t").strip()
    except subprocess.CalledProcessError:
        return ""


def main() -> int:
    """Run a command with the node up."""
    if len(sys.argv) < 3:
        print(__doc__)
        return 2
    folder, command = Path(sys.argv[1]).resolve(), sys.argv[2:]
    try:
        install()
    except NoNodeError as reason:
        print(reason, file=sys.stderr)
        return 1
    with node(folder) as running:
        return subprocess.run(command, env={**os.environ, **running.environment}).returncode


if __name__ == "__main__":
    sys.exit(main())
