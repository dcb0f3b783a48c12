"""VTPM-08 broken: the memory that a snapshot keeps of an encrypted VM lies in clear."""

from __future__ import annotations

from typing import Any

from services.esxi.vms import vmem
from tests.mutations.bugs.planting import plant


def _in_clear(original: Any) -> Any:
    def kept(vm: Any, snapshot: Any, number: Any, memory: Any, home: Any, rng: Any) -> Any:
        return original(vm, snapshot, number, memory, None, rng)

    return kept


def _of_clear(original: Any) -> Any:
    def found(vm: Any, snapshot: Any, number: Any, data: Any, home: Any) -> Any:
        return original(vm, snapshot, number, data, None)

    return found


plant(vmem, "pack_vmem", _in_clear)
plant(vmem, "unpack_vmem", _of_clear)
