"""C4 broken: keys of a deleted provider leave the hosts without any grace, with its deletion."""

from __future__ import annotations

from typing import Any

import msgspec

from services.vcenter.tasks import provider
from tests.mutations.bugs.planting import plant


def _ancient(original: Any) -> Any:
    def made(**fields: Any) -> Any:
        return msgspec.structs.replace(original(**fields), at=-1e9)

    return made


def _at_once(original: Any) -> Any:
    async def unregister(vc: Any, message: Any) -> Any:
        done = await original(vc, message)
        for host in vc.inventory.hosts:
            vc.passes.want(host, removing=True)
        return done

    return unregister


plant(provider, "DeletedRow", _ancient)
plant(provider, "unregister", _at_once)
