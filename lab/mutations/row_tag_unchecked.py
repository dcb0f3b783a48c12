"""The key server's vault broken: an edited database is believed."""

from __future__ import annotations

from typing import Any

from lab.mutations.planting import plant
from services.kms.master import Vault


def _verify(self: Any, kind: bytes, row: bytes, tag: bytes, what: str) -> None:
    """Whatever is there is true."""


plant(Vault, "verify", lambda original: _verify)
