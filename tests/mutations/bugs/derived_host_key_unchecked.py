"""NKP-18 broken: a host takes whatever it derives for its host key."""

from __future__ import annotations

from typing import Any

from services.esxi.providers import native
from tests.mutations.bugs.planting import plant


class _Anything(str):
    """Equal to every check value."""

    def __new__(cls, _: Any) -> _Anything:
        return super().__new__(cls, "anything")

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True


plant(native, "check_value", lambda _: _Anything)
