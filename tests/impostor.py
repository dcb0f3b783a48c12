"""Another user who listens under a name of the kernel's abstract space; needs root."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

NOBODY: Final = 65534
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be two users")
_LISTENS: Final = """
import os, socket, sys
os.setgroups([]), os.setgid(int(sys.argv[3])), os.setuid(int(sys.argv[3]))
listening = socket.socket(socket.AF_UNIX)
listening.bind("\\0" + sys.argv[1])
listening.listen()
print("listens", flush=True)
listening.settimeout(10)
line, _ = listening.accept()
line.sendall(sys.argv[2].encode())
while data := line.recv(4096):
    print("heard", data, flush=True)
"""


@contextmanager
def impostor(name: str, answer: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """While it lasts, user nobody listens under ``name``, sends ``answer`` to the first who
    connects, and prints what it hears."""
    command = [sys.executable, "-c", _LISTENS, name, answer, str(NOBODY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"listens\n"
            yield process
        finally:
            process.kill()
