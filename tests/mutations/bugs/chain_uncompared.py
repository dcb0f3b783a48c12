"""Histories broken: a record need not carry the digest of the one before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import chaos.history as history
from tests.mutations.bugs.planting import plant


class _Any(str):
    """A digest that is equal to every other."""

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


class _Agreeable:
    """A digest of some bytes that agrees with everything."""

    def __init__(self, data: bytes = b"") -> None:
        pass

    def update(self, data: bytes) -> None:
        pass

    def hexdigest(self) -> str:
        return _Any()


class _Hashes:
    sha256 = _Agreeable


def _lenient(original: Any) -> Any:
    def records_of(lines: Any) -> Iterator[history.Record]:
        vars(history)["hashlib"] = _Hashes
        try:
            yield from original(lines)
        finally:
            vars(history)["hashlib"] = hashlib

    return records_of


plant(history, "records_of", _lenient)
