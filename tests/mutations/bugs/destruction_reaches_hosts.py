"""KP-09 broken: a key that is destroyed at its key server leaves hosts, their stores too."""

from __future__ import annotations

from typing import Any

from protocol.terms import KmipState
from services.esxi.host import Host
from services.esxi.keys import persistence
from services.kms import performing
from tests.mutations.bugs.planting import plant

_hosts: list[Any] = []
_DEAD = (KmipState.DESTROYED, KmipState.DESTROYED_COMPROMISED)


def _known(original: Any) -> Any:
    def init(self: Any, node: Any, ports: Any, config: Any) -> None:
        original(self, node, ports, config)
        _hosts.append(self)

    return init


def _far(original: Any) -> Any:
    def moved(work: Any, request: Any, transition: Any, row: Any) -> Any:
        after = original(work, request, transition, row)
        if after.state in _DEAD:
            for host in _hosts:
                _drop(host, row.key_id)
        return after

    return moved


def _drop(host: Any, key_id: Any) -> None:
    for key in [key for key in host.keys.ids() if key.key_id == key_id]:
        host.keys.remove(key)
        host.archive.now = persistence.without_keys(host.archive.now, (key,))


plant(Host, "__init__", _known)
plant(performing, "_transition", _far)
