"""HLT-01 broken: a service has what it is to have when the number of the change is right."""

from __future__ import annotations

from typing import Any

from services.vcenter.trust import authority
from tests.mutations.bugs.planting import plant


def _by_number(original: Any) -> Any:
    return lambda node, row, revision, items: revision == str(row.revision)


plant(authority, "_has", _by_number)
