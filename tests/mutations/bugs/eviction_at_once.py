"""C4 broken: keys of a deleted provider leave the hosts without any grace."""

from __future__ import annotations

from typing import Any

import msgspec

from services.vcenter.tasks import provider
from tests.mutations.bugs.planting import plant


def _ancient(original: Any) -> Any:
    def made(**fields: Any) -> Any:
        return msgspec.structs.replace(original(**fields), at=-1e9)

    return made


plant(provider, "DeletedRow", _ancient)
