"""No bug: writes down every secret that this process ever holds, for the scan of a whole run.

``seen`` has them by their bytes; with ``KEYSTEAD_KEY_LEDGER`` set to a folder (outside of what
is scanned) each process also appends them to a file of its own there: kind, tab, hex.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

from protocol.secret import KeyMaterial
from tests.mutations.bugs.planting import plant

FOLDER: Final = "KEYSTEAD_KEY_LEDGER"
"""The environment variable that names the folder."""

seen: dict[bytes, str] = {}
"""Secret -> who made it first: the module and function that called ``KeyMaterial``."""


def _write(kind: str, raw: bytes) -> None:
    folder = os.environ.get(FOLDER)
    if folder:
        with (Path(folder) / f"{os.getpid()}.keys").open("a") as file:
            file.write(f"{kind}\t{raw.hex()}\n")


def _noting(original: Any) -> Any:
    def init(self: Any, raw: bytes) -> None:
        original(self, raw)
        held = bytes(raw)
        if held not in seen:
            caller = sys._getframe(1)
            seen[held] = f"{caller.f_globals.get('__name__', '')}:{caller.f_code.co_name}"
            _write(seen[held], held)

    return init


plant(KeyMaterial, "__init__", _noting)
