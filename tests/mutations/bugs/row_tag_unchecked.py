"""The key server's vault broken: an edited database is believed."""

from __future__ import annotations

from typing import Any

from services.kms.master import Vault
from tests.mutations.bugs.planting import plant


def _verify(self: Any, kind: bytes, row: bytes, tag: bytes, what: str) -> None:
    """Whatever is there is true."""


def _verifier(self: Any, kind: bytes) -> Any:
    return lambda row, tag: True


plant(Vault, "verify", lambda original: _verify)
plant(Vault, "verifier", lambda original: _verifier)
