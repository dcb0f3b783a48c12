"""The state of a vTPM is bound to nothing: a copy of it is as good for another VM."""

from __future__ import annotations

from typing import Any

from services.esxi.vms import nvram
from tests.mutations.bugs.planting import plant


def _same(original: Any) -> Any:
    def aad(vm: Any, ek: bytes, number: int) -> bytes:
        return b"keystead vtpm"

    return aad


plant(nvram, "_aad", _same)
