"""Histories of a key provider that is deleted for good, for ``retired_provider_unused``."""

from __future__ import annotations

from typing import Any, Final

from chaos.checks.result import CheckOutcome

Row = tuple[str, str, str, dict[str, Any]]
LOOK: Final[Row] = ("", "state", "look", {})
DELETED: Final[Row] = ("", "ok", "provider.delete", {"deleted": "old"})
ADDED: Final[Row] = ("", "invoke", "provider.add", {"provider": "old"})


def host(key: str | None, name: str = "esxi-001") -> Row:
    """A host under that host key."""
    return (name, "state", "host", {"key": key})


def vm(*keys: str, name: str = "vm-01") -> Row:
    """A VM under these keys."""
    return (name, "state", "vm", {"keys": list(keys)})


def held(cache: tuple[str, ...] = (), store: tuple[str, ...] = ()) -> Row:
    """Which of the keys asked for a host has at the end."""
    data = {"asked": ["k1", "h1"], "cache": list(cache), "store": list(store)}
    return ("esxi-001", "state", "held", data)


USED: Final = [host("old/h1"), vm("old/k1"), LOOK]
MOVED: Final = [host("new/h2"), vm("new/k2"), LOOK]
GOOD: Final = [*USED, *MOVED, DELETED, LOOK, held()]
RETIRED: Final[list[tuple[CheckOutcome, list[Row]]]] = [
    (CheckOutcome.PASS, GOOD),
    (CheckOutcome.FAIL, [*USED, host("new/h2"), DELETED, LOOK, held()]),
    (CheckOutcome.FAIL, [*USED, vm("new/k2"), DELETED, LOOK, held()]),
    (CheckOutcome.FAIL, [*USED, *MOVED, vm("new/k2", "old/k1"), DELETED, LOOK, held()]),
    (CheckOutcome.FAIL, [*USED, *MOVED, DELETED, vm("old/k1"), LOOK, held()]),
    (CheckOutcome.FAIL, [*USED, *MOVED, DELETED, LOOK, held(cache=("k1",))]),
    (CheckOutcome.FAIL, [*USED, *MOVED, DELETED, LOOK, held(store=("h1",))]),
    # what has been destroyed uses nothing, and a provider that is there again may be used
    (CheckOutcome.PASS, [*USED, host(None), ("vm-01", "ok", "vm.destroy", {}), *GOOD[-3:]]),
    (CheckOutcome.UNKNOWN, [*USED, DELETED, ADDED, LOOK, held(cache=("k1",))]),
    # nobody was under it, nobody looked at the end, or nothing was deleted
    (CheckOutcome.UNKNOWN, [*MOVED, DELETED, LOOK, held()]),
    (CheckOutcome.UNKNOWN, [*USED, *MOVED, DELETED, LOOK]),
    (CheckOutcome.UNKNOWN, [*USED, LOOK, held()]),
    (CheckOutcome.UNKNOWN, [*USED, ("", "fail", *DELETED[2:]), LOOK, held()]),
]
