"""vCenter broken: two hosts of a cluster that need a host key at once have one made each."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from services.vcenter.hosts.host_key import HostKeys
from tests.mutations.bugs.planting import plant


class _Open(dict[str, Any]):
    """No scope has a lock."""

    def setdefault(self, key: str, default: Any = None) -> Any:
        return nullcontext()


def _unlocked(original: Any) -> Any:
    def init(self: HostKeys, *given: Any, **options: Any) -> None:
        original(self, *given, **options)
        self._making = _Open()

    return init


plant(HostKeys, "__init__", _unlocked)
