"""The `dvc` program: found, called, and its refusals told."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from mirage.errors import LedgerError


class Dvc:
    """DVC in the working directory. It is called as a program, so that nothing else needs it installed.

    Raises:
        LedgerError: it is not installed, or the working directory is no repository of its.
    """

    def __init__(self) -> None:
        beside_python = str(Path(sys.executable).parent)
        program = shutil.which("dvc", path=os.pathsep.join([beside_python, os.environ.get("PATH", "")]))
        if program is None:
            raise LedgerError(
                "DVC, which stores results, is not installed; `pip install -c constraints.txt -e '.[dvc]'`"
            )
        if not Path(".dvc/config").exists():
            raise LedgerError(
                f"{Path.cwd()}: no .dvc/config here; run `dvc init` once and commit what it writes"
            )
        self._program = program

    def ask(self, *arguments: str) -> str:
        """What a command prints.

        Raises:
            LedgerError: it failed; the message is DVC's.
        """
        done = self._call(arguments, capture=True)
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise LedgerError(f"`dvc {shlex.join(arguments)}` failed: {said}")
        return done.stdout

    def do(self, *arguments: str) -> None:
        """Run a command that moves data, with its progress on standard error.

        Raises:
            LedgerError: it failed; DVC has printed why.
        """
        if self._call(arguments, capture=False).returncode:
            raise LedgerError(f"`dvc {shlex.join(arguments[:3])} ...` failed; its message is above")

    def _call(self, arguments: tuple[str, ...], capture: bool) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._program, *arguments],
            stdin=subprocess.DEVNULL,  # a question would be answered no
            stdout=subprocess.PIPE if capture else sys.stderr.fileno(),
            stderr=subprocess.PIPE if capture else None,
            text=True,
            env={**os.environ, "DVC_NO_ANALYTICS": "true"},
        )

    def cache_folder(self) -> Path:
        """Where the objects lie that are stored in this clone."""
        return Path(self.ask("cache", "dir").strip())

    def remote(self) -> str | None:
        """Name of the default remote, or None."""
        done = self._call(("config", "core.remote"), capture=True)
        return done.stdout.strip() or None
