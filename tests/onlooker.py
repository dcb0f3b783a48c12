"""Another program of the same user, which may not trace others: what it can read of a process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Final

_LOOKS: Final = """
import json, sys
found = {}
for pid in sys.argv[1:]:
    found[pid] = []
    for file in ("mem", "environ", "cmdline"):
        try:
            with open(f"/proc/{pid}/{file}", "rb", 0) as opened:
                if file != "mem":
                    opened.read(1)
            found[pid].append(file)
        except OSError:
            pass
print(json.dumps(found))
"""
_WITHOUT: Final = """
import ctypes, os, sys
PR_CAPBSET_DROP = 24
for capability in range(64):
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def without_capabilities(*words: str) -> list[str]:
    """The command of Python with these words, which has no more rights than a user, if root starts
    it."""
    return [sys.executable, "-c", _WITHOUT, *words]


def seen_of(pids: Iterable[int]) -> dict[int, list[str]]:
    """The files of each process that such a program may read: ``mem``, ``environ``, ``cmdline``."""
    command = without_capabilities("-c", _LOOKS, *map(str, pids))
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return {int(pid): files for pid, files in json.loads(ran.stdout).items()}
