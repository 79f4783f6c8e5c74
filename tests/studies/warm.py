"""Jobs that start in milliseconds: children of one process that has imported PyTorch and MONAI already.

A demo study is some hundred jobs of a second or two, each of which would first spend several on imports. A
`mirage` command put first on the path hands its arguments, environment and files to a server that forks. What
a job costs is then not measured (benchmark files see the client), and jobs outlive a killed Snakemake: tests
of either start them cold.
"""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

HEAVY = (
    "mirage.evaluate.classification",
    "mirage.evaluate.detection",
    "mirage.evaluate.segmentation",
    "mirage.evaluate.volume_segmentation",
    "mirage.generators.fit",
    "mirage.recipes",
    "mirage.training.fabric",
)

CLIENT = """#!{python} -SE
import array, json, os, signal, socket, sys
link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
link.connect({address!r})
asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
files = array.array("i", [0, 1, 2])
link.sendmsg([len(asked).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
link.sendall(asked)
job = int.from_bytes(link.recv(4), "big")
signal.signal(signal.SIGTERM, lambda number, frame: os.kill(job, number))
status = link.recv(1)
sys.exit(status[0] if status else 1)
"""


class _Job(socketserver.BaseRequestHandler):
    """One `mirage` command, run in a process that was forked for it."""

    def handle(self) -> None:
        size = array.array("i").itemsize
        head, control, _, _ = self.request.recvmsg(4, socket.CMSG_SPACE(3 * size))
        for own, theirs in enumerate(array.array("i", control[0][2][: 3 * size])):
            os.dup2(theirs, own)
        asked = b""
        while len(asked) < int.from_bytes(head, "big"):
            asked += self.request.recv(1 << 16)
        arguments, folder, environment = json.loads(asked)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        self.request.sendall(os.getpid().to_bytes(4, "big"))
        self.request.sendall(bytes([_run(arguments)]))


def _run(arguments: list[str]) -> int:
    """Run the program as `mirage ARGUMENTS...` would; its exit status."""
    from mirage.cli import app

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.argv = ["mirage", *arguments]
    try:
        app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


class _Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    max_children = 64
    request_queue_size = 64


def serve(address: str) -> None:
    """Import what is slow to import, then run one job a connection."""
    for name in HEAVY:
        import_module(name)
    with _Server(address, _Job) as server:
        server.serve_forever()


@contextmanager
def warm_jobs() -> Iterator[Path]:
    """Run the server beside the block.

    Yields:
        the folder to put first on the path.
    """
    # Not pytest's own folder: the address of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory() as folder:
        client, address = Path(folder, "mirage"), f"{folder}/socket"
        client.write_text(CLIENT.format(python=sys.executable, address=address), encoding="utf-8")
        client.chmod(0o755)
        with subprocess.Popen([sys.executable, __file__, address]) as server:
            try:
                while not Path(address).exists():
                    assert server.poll() is None, "the server of warm jobs ended"
                    time.sleep(0.1)
                yield Path(folder)
            finally:
                server.terminate()


if __name__ == "__main__":
    serve(sys.argv[1])
