"""Histories for each clause of ``only_given_keys``: hosts, what needs their keys, and what they
hold."""

from __future__ import annotations

from typing import Final

from chaos.checks.result import Finding
from tests.chaos.acked_cases import FAIL, PASS, UNKNOWN, Row, key, state

_NAME: Final = "only_given_keys"
_NOTHING: Final = Finding(UNKNOWN, "no host had a key of which a VM is known")
STAGED: Final = state("staging", clusters={"a1": "west", "a2": "west", "b1": "east"})
LEADS: Final = state(
    "staging", clusters={"a1": "west", "b1": "east"}, leads={"a1": "vc-a", "b1": "vc-b"}
)


def needs(host: str, *keys: str, vm: str = "vm-01") -> Row:
    return state("vm", vm, host=host, keys=[f"p/{key}" for key in keys])


def has(host: str, *keys: str, place: str = "cache") -> Row:
    return state("values", host, place=place, keys=dict.fromkeys(keys, 1))


def invoke(op: str, about: str = "vm-01") -> Row:
    return (about, "invoke", op, {"n": 1})


def foreign(host: str, cluster: str, whose: str, *records: int, place: str = "cache") -> Finding:
    text = f"{host} of {cluster} has k1 of {whose} in its {place}"
    return Finding(FAIL, text, records)


def given(count: int) -> Finding:
    return Finding(PASS, f"{count} keys at hosts, each given to its cluster")


_ADDED: Final[Row] = ("", "ok", "key.add", {"added": "p/k1"})
_OF_EAST: Final = foreign("b1", "east", "west", 3)
_UNUSED: Final = foreign("b1", "east", "no VM", 3)
_CASES: Final[tuple[tuple[list[Row], Finding], ...]] = (
    # A key of a VM is its cluster's, at any host and at any time of the run.
    ([STAGED, needs("a1", "k1"), has("a2", "k1")], given(1)),
    ([STAGED, has("a2", "k1"), needs("a1", "k1")], given(1)),
    ([STAGED, needs("a1", "k1"), has("b1", "k1")], _OF_EAST),
    (
        [STAGED, needs("a1", "k1"), has("b1", "k1", place="store")],
        foreign("b1", "east", "west", 3, place="store"),
    ),
    (
        [STAGED, needs("a1", "k1", "k2"), has("a1", "k1", "k2"), has("b1", "k1")],
        foreign("b1", "east", "west", 4),
    ),
    ([STAGED, needs("a1", "k1"), needs("b1", "k1"), has("b1", "k1")], given(1)),
    # A host key is that of its cluster.
    ([STAGED, state("host", "a1", key="p/k1"), has("b1", "k1")], _OF_EAST),
    ([STAGED, state("host", "a1", key="p/k1"), has("a2", "k1")], given(1)),
    ([STAGED, state("host", "a1", key=None), has("a2", "k1")], _NOTHING),
    ([STAGED, state("host", "a1", silent=True), has("a2", "k1")], _NOTHING),
    # What key servers have is no host's.
    ([STAGED, needs("a1", "k1"), has("kms", "k1", place="server")], _NOTHING),
    ([STAGED, needs("a1", "k1"), has("a1", "k1", place="server")], _NOTHING),
    ([STAGED, has("b1", "k1")], _NOTHING),
    # A key that was created for no VM is nobody's, until a VM needs it or a person adds it.
    ([STAGED, key("k1"), has("b1", "k1")], _UNUSED),
    ([STAGED, key("k1"), has("b1", "k2")], _NOTHING),
    ([STAGED, key("k1"), needs("b1", "k1"), has("b1", "k1")], given(1)),
    ([STAGED, key("k1"), _ADDED, has("b1", "k1")], _NOTHING),
    ([STAGED, ("vm-01", "ok", "vm.encrypt", {"key": "k1"}), has("b1", "k1")], _NOTHING),
    # A VM may be on its way to another vCenter, with its keys.
    ([LEADS, needs("a1", "k1"), has("b1", "k1")], _OF_EAST),
    ([LEADS, invoke("vm.migrate"), needs("a1", "k1"), has("b1", "k1")], _NOTHING),
    (
        [LEADS, invoke("vm.migrate", "vm-02"), needs("a1", "k1"), has("b1", "k1")],
        foreign("b1", "east", "west", 4),
    ),
    (
        [LEADS, invoke("vm.move"), needs("a1", "k1"), has("b1", "k1")],
        foreign("b1", "east", "west", 4),
    ),
    (
        [STAGED, invoke("vm.migrate"), needs("a1", "k1"), has("b1", "k1")],
        foreign("b1", "east", "west", 4),
    ),
    # Hosts that change their cluster are not judged, and nor is what they bring.
    ([STAGED, needs("a1", "k1"), invoke("host.add", "b1"), has("b1", "k1")], _NOTHING),
    ([STAGED, needs("a1", "k1"), invoke("host.remove", "b1"), has("b1", "k1")], _NOTHING),
    ([STAGED, invoke("host.add", "a2"), needs("a2", "k1"), has("b1", "k1")], _NOTHING),
    (
        [STAGED, invoke("host.enter", "b1"), needs("a1", "k1"), has("b1", "k1")],
        foreign("b1", "east", "west", 4),
    ),
)
HELD: Final[list[tuple[str, list[Row], Finding]]] = [(_NAME, *case) for case in _CASES]
