"""Random arguments for every command: of the right type, and mostly wrong.

What is drawn is a function of one seed, so that a finding can be played again.
"""

from __future__ import annotations

import math
import random
import types
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from chaos.faults import FAULTS

NAMES = (
    *("esxi-001", "esxi-002", "vm-01", "vm-02", "kms", "vcenter", "kms-provider", "cluster-a"),
    *("esxi-003", "vm-99", "kms-9", "provider-2", "default", "main", "edge", "datastore-cluster-a"),
)
SELECTORS = (
    *("all", "role:esxi", "site:main", "cluster:cluster-a", "esxi-[001-002]", "vm-[01-02]"),
    *("50% of all", "one of role:esxi", "2 of all", "esxi-[9-1]", "[", "]", "%", "0% of all"),
    *("1 of " * 300 + "all", "vm-[00000000001-00000000002]", "a[1-99999999999999999999]"),
)
KINDS = (*(fault.kind for fault in FAULTS), "nothing")
HOSTILE = (
    "a\ud800",
    *("", " ", "\n", "\x00", "\x1b[2J", "../x", "../../etc/passwd", "/", "a/b", "*", ">", "a.b"),
    *("x" * 300, "é" * 100, "١٢s", "\u202eabc", "{0}", "%s", "%(a)s", "-1", "--help", "None"),
    *(
        "a\ud800",
        "vm-01\n",
        "all\x00",
        "9" * 5001,
        "1e999",
        "nan",
        "$(id)",
        "\U0001f600",
        "a b",
        "\t",
        "'",
    ),
)
TEXTS = (
    *("30s", "250ms", "1h", "0s", "-5s", "5", "20%", "0.2", "0.2/s", "network", "to", "from"),
    *(
        "system",
        "security",
        "keypersistence",
        "get",
        "--enable",
        "enable",
        "settings",
        "encryption",
    ),
    *("deactivate", "compromise", "destroy", "8.0U3", "off", "true", "encryptionRecoveryKey"),
)
WHOLE = (
    0,
    1,
    2,
    5,
    -1,
    7,
    64,
    1000,
    2**31,
    2**53,
    2**63 - 1,
    2**63,
    2**64 - 1,
    -(2**63),
    2**64,
    -(2**65),
)
REAL = (0.0, 1.0, 0.5, 1e-12, -1.0, 5.0, 1e9, 1e300, math.inf, -math.inf, math.nan, 0.001)
KEYS = ("between", "on", "base", "jitter", "p", "dir", "site", "stagger", "provider", "state")
MORE_KEYS = ("vm", "keys", "secure_boot", "version", "event", "pcr", "role", "pick", "cure", "x")


def word(draw: random.Random) -> str:
    """A text: a name that is there, one that is not, a selector, or something hostile."""
    pools = (NAMES, NAMES, NAMES, SELECTORS, TEXTS, HOSTILE)
    return draw.choice(draw.choice(pools))


def anything(draw: random.Random, depth: int = 3) -> Any:
    """A value of the kind that a fault's map may hold."""
    kind = draw.randrange(9 if depth else 6)
    match kind:
        case 0:
            return draw.choice(WHOLE)
        case 1:
            return draw.choice(REAL)
        case 2:
            return draw.choice((True, False, None))
        case 3 | 4 | 5:
            return word(draw)
        case 6 | 7:
            return [anything(draw, depth - 1) for _ in range(draw.randrange(4))]
        case _:
            keys = draw.sample((*KEYS, *MORE_KEYS), draw.randrange(4))
            return {key: anything(draw, depth - 1) for key in keys}


def value(draw: random.Random, kind: Any, name: str) -> Any:
    """A value of this type hint, for a field of this name."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return value(draw, inner[0], name)
    if origin in (Union, types.UnionType):
        return value(draw, draw.choice(inner), name)
    if origin is Literal:
        return draw.choice(inner)
    if origin is tuple:
        return tuple(value(draw, inner[0], name) for _ in range(draw.choice((0, 1, 1, 1, 2, 3))))
    if origin is dict:
        if inner[1] is Any:
            return _values(draw)
        keys = [word(draw) for _ in range(draw.randrange(3))]
        return {key: value(draw, inner[1], name) for key in keys}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return drawn(draw, kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return draw.choice(list(kind))
    return _scalar(draw, getattr(kind, "__supertype__", kind), name)


def _scalar(draw: random.Random, kind: Any, name: str) -> Any:
    if kind is type(None):
        return None
    if kind is bool:
        return draw.random() < 0.5
    if kind is int:
        return draw.choice(WHOLE)
    if kind is float:
        return draw.choice(REAL)
    if kind is bytes:
        return draw.choice((b"", b"a" * 16, b"\xff" * 64, bytes(draw.choice((1000, 2_000_000)))))
    if kind is str:
        if name == "kind" and draw.random() < 0.8:
            return draw.choice(KINDS)
        return word(draw)
    raise TypeError(f"{name}: no values of {kind} are drawn")


def _values(draw: random.Random) -> dict[str, Any]:
    """Parameters of a fault: often near to right ones."""
    made: dict[str, Any] = {}
    if draw.random() < 0.5:
        made["between"] = [word(draw), word(draw)]
    if draw.random() < 0.5:
        made["on"] = word(draw)
    if draw.random() < 0.3:
        made |= {"base": draw.choice(TEXTS[:8]), "p": draw.choice((0.5, "20%", 1e-9, 2))}
    for key in draw.sample((*KEYS, *MORE_KEYS), draw.randrange(3)):
        made[key] = anything(draw)
    return made


def hints(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The fields of a command, or of a part of one, with their types."""
    found = get_type_hints(kind, include_extras=True)
    return {name: found[name] for name in kind.__struct_fields__}


def drawn(draw: random.Random, kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Values for a command or a part of one: for required fields, and some of the others."""
    required = len(kind.__struct_fields__) - len(kind.__struct_defaults__)
    return {
        name: value(draw, hint, name)
        for place, (name, hint) in enumerate(hints(kind).items())
        if place < required or draw.random() < 0.6
    }
