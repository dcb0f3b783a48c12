"""A host counts its views from 1 in each life, and a version does not tell of which life it is."""

from __future__ import annotations

from typing import Any

from services.esxi.host import Host
from tests.mutations.bugs.planting import plant


def _bare(original: Any) -> Any:
    return property(lambda self: str(self._views))


plant(Host, "version", _bare)
