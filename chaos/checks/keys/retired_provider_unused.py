"""After an acknowledged deletion of a key provider nothing is left under it: no key of a VM, of a
disk of it, or of a host, and at the end of the run no such key in the memory or in the store of a
host, until a provider of that name is added again (DEL-04).

Reads what hosts say of themselves and their VMs, and the fingerprints of keys at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record
from chaos.observe.key_values import HELD

_DELETED: Final = "provider.delete"
_ADDED: Final = "provider.add"
_DESTROYED: Final = "vm.destroy"


class _Users:
    """Who uses which keys, by the last word on each; and all keys of each provider so far."""

    def __init__(self) -> None:
        self.keys: dict[tuple[str, str], frozenset[str]] = {}
        self.ids: dict[str, set[str]] = {}

    def take(self, record: Record) -> None:
        """A word of a host on itself or on a VM."""
        if record.data.get("silent"):
            return
        found = record.data.get("keys") if record.op == "vm" else [record.data.get("key")]
        keys = frozenset(str(key) for key in found or () if key)
        self.keys[record.op, record.node] = keys
        for key in keys:
            provider, _, key_id = key.partition("/")
            self.ids.setdefault(provider, set()).add(key_id)

    def of(self, provider: str) -> list[str]:
        """Who uses a key of the provider."""
        return sorted(
            f"{kind} {name}"
            for (kind, name), keys in self.keys.items()
            if any(key.partition("/")[0] == provider for key in keys)
        )


def retired_provider_unused(records: Sequence[Record]) -> Finding:
    """Pass when nobody used a key of a deleted provider. Unknown when none was deleted, when nobody
    had used it before, and when no host said at the end which keys it has."""
    users, retired = _Users(), dict[str, Record]()
    bad: dict[str, int] = {}
    looked = 0
    for record in records:
        if record.type == "ok" and record.op == _DELETED:
            retired[str(record.data.get("deleted"))] = record
        elif record.type == "invoke" and record.op == _ADDED:
            retired.pop(str(record.data.get("provider")), None)
        elif record.type == "ok" and record.op == _DESTROYED:
            users.keys.pop(("vm", record.node), None)
        elif record.type == "state" and record.op in ("vm", "host"):
            users.take(record)
        elif record.type == "state" and record.op == "look":
            for provider in retired:
                for user in users.of(provider):
                    bad.setdefault(f"{user} is under a key of {provider}", record.seq)
        elif record.type == "state" and record.op == HELD:
            looked += 1
            for provider in retired:
                for place in ("cache", "store"):
                    left = sorted(users.ids.get(provider, set()) & set(record.data[place]))
                    if left:
                        text = f"{record.node} has {left[0]} of {provider} in its {place}"
                        bad.setdefault(text, record.seq)
    if bad:
        where = tuple(dict.fromkeys(bad.values()))
        return Finding(CheckOutcome.FAIL, "; ".join(list(bad)[:5]), where)
    used = sorted(provider for provider in retired if users.ids.get(provider))
    if not used or not looked:
        return Finding(CheckOutcome.UNKNOWN, "no key provider that was in use was deleted")
    many = sum(len(users.ids[provider]) for provider in used)
    return Finding(CheckOutcome.PASS, f"nothing is left of {many} keys of {', '.join(used)}")
