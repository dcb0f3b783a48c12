"""What there is to reach, by kind, and what tests cannot reach, with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from chaos.checks import CHECKS
from chaos.faults import FAULTS
from lab.schema.errors import all_ids
from lab.serve.table import COMMANDS
from protocol.errors import REGISTRY
from protocol.events import EventTypeId

Thing = tuple[str, str]
"""A kind and a name, as ``site/sitecustomize.py`` notes them."""

OUT_OF_REACH: dict[Thing, str] = {
    (
        "error",
        "KS-CHAOS-201",
    ): "never raised: it begins a verdict's reason; see test_engine",
    ("error", "KS-AGENT-010"): "never raised: it begins a verdict's reason; see test_roster",
}
"""What no test reaches, and why that is no gap."""


def everything() -> set[Thing]:
    """All entries of the product's registries."""
    return {
        *(("command", command.__name__) for command in COMMANDS),
        *(("error", error_id) for error_id in all_ids()),
        *(("product-error", name) for name in REGISTRY),
        *(("event", event.value) for event in EventTypeId),
        *(("fault", fault.kind) for fault in FAULTS),
        *(("check", name) for name in CHECKS),
    }


def named(tests: Path) -> set[Thing]:
    """Those that a test names, whether it is slow or not: an event by its member's name too."""
    members = {event.value: event.name for event in EventTypeId}
    text = "\n".join(path.read_text("utf-8") for path in tests.rglob("test_*.py"))
    words = set(re.findall(r"[\w.:-]*\w", text))
    words |= {word.rpartition(".")[2] for word in words}
    return {thing for thing in everything() if {thing[1], members.get(thing[1])} & words}


def complaints(
    there: set[Thing], reached: Iterable[Thing], out_of_reach: dict[Thing, str]
) -> list[str]:
    """What is wrong: unreached things, and exceptions that are none (any more)."""
    found = set(reached)
    missing = sorted(there - found - set(out_of_reach))
    needless = sorted(thing for thing in out_of_reach if thing in found or thing not in there)
    return [
        *(f"no test reaches the {kind} {name}" for kind, name in missing),
        *(f"the {kind} {name} is said to be out of reach, and is not" for kind, name in needless),
    ]
