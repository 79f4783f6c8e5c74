"""Signs of life in the state folder of a training, for other processes to read. Imports nothing heavy."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from mirage.files import read_json

LOCK = "lock.json"
"""Who trains here: host, process, and a number that grows with every heartbeat."""
PROGRESS = "progress.json"
"""How far the training was when it last said so."""
HEARTBEAT_SECONDS = 10.0
SILENCE_SECONDS = 45.0
"""An owner that has not beaten for so long is taken for dead."""


def read_lock(lock: Path) -> dict[str, Any] | None:
    """The owner of a state; None when there is none, empty when it is not readable."""
    try:
        found: dict[str, Any] = read_json(lock)
    except FileNotFoundError:
        return None
    except json.JSONDecodeError:
        return {}
    return found


def dead(owner: dict[str, Any]) -> bool:
    """Whether the owner ran on this host and is gone."""
    if owner.get("host") != socket.gethostname():
        return False
    try:
        os.kill(int(owner["pid"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
