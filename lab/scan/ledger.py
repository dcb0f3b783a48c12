"""Every secret that this process ever holds, for the scan of a whole run: the key oracle.

It lives in the memory of the checker. With ``KEYSTEAD_KEY_LEDGER`` set to a folder (outside of
what is scanned) each process also appends to a file of its own there: kind, tab, hex.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from protocol.secret import KeyMaterial

FOLDER: Final = "KEYSTEAD_KEY_LEDGER"
"""The environment variable that names the folder."""

seen: dict[bytes, str] = {}
"""Secret -> who made it first: the module and function that called ``KeyMaterial``."""

_original: Final = KeyMaterial.__init__


def keep() -> None:
    """From now on write down what ``KeyMaterial`` is made of; again is no change."""
    setattr(KeyMaterial, "__init__", _noting)  # noqa: B010 - a method of a class, from outside


def kept() -> bool:
    """Whether this process keeps a ledger."""
    return KeyMaterial.__init__ is _noting


def _noting(self: KeyMaterial, raw: bytes) -> None:
    _original(self, raw)
    held = bytes(raw)
    if held not in seen:
        caller = sys._getframe(1)
        seen[held] = f"{caller.f_globals.get('__name__', '')}:{caller.f_code.co_name}"
        _write(seen[held], held)


def _write(kind: str, raw: bytes) -> None:
    folder = os.environ.get(FOLDER)
    if folder:
        with (Path(folder) / f"{os.getpid()}.keys").open("a") as file:
            file.write(f"{kind}\t{raw.hex()}\n")
