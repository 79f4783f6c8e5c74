"""Chromium for tests, from Debian's packages where it is missing (as root)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import BrowserContext, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PACKAGES = ("chromium",)
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class NoBrowserError(Exception):
    """There can be no Chromium on this machine, and why."""


def install() -> str:
    """Path of Chromium, which is installed from Debian's packages unless it is there.

    Raises:
        NoBrowserError: not possible here.
    """
    found = _found()
    if found:
        return found
    if shutil.which("apt-get") is None:
        raise NoBrowserError("Chromium is not installed, and this is no Debian to install it from")
    if os.geteuid() != 0:
        raise NoBrowserError("Chromium is not installed, and only root can install it")
    for command in (("update",), ("install", "--yes", "--no-install-recommends", *PACKAGES)):
        done = subprocess.run(
            ["apt-get", "--quiet", *command],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
        )
    found = _found()
    if not found:
        raise NoBrowserError(f"Debian's package of Chromium could not be installed:\n{done.stdout[-500:]}")
    return found


def _found() -> str | None:
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@contextmanager
def chromium(program: str, folder: Path, *, offline: bool = True) -> Iterator[BrowserContext]:
    """A headless Chromium within the block, whose profile and downloads lie in ``folder``."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(folder / "profile"),
            executable_path=program,
            headless=True,
            args=list(ARGUMENTS),
            offline=offline,
            viewport={"width": 1280, "height": 800},
            accept_downloads=True,
        )
        try:
            yield context
        finally:
            context.close()
