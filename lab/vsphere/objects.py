"""Managed objects by id. Ids follow from names, so that they outlive every restart."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable

_SPACE = 1 << 31
_NAMESPACE = uuid.UUID("5a0d8cf4-6a4c-5f0e-9a67-0f8f2e3b7a11")


def numbers(names: Iterable[str]) -> dict[str, int]:
    """A number for each name, the same ones for the same names: 31 bits, as libvirt reads them.

    Two names that come to one number are told apart by their order.
    """
    found: dict[str, int] = {}
    used: set[int] = set()
    for name in sorted(set(names)):
        number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest()) % _SPACE
        while number in used or not number:
            number = (number + 1) % _SPACE
        used.add(number)
        found[name] = number
    return found


def own_id(what: str, name: str, prefix: str) -> str:
    """The id that follows from a name alone, for an object that the inventory has no more."""
    return f"{prefix}{numbers([f'{what}/{name}'])[f'{what}/{name}']}"


def uuid_of(*names: str) -> str:
    """The UUID of what has these names: the same one at every start."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(names)))
