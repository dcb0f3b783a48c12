"""Random lab and experiment files: good ones with parts changed, and texts of no meaning.

What is drawn is a function of one seed, so that a finding can be played again.
"""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import Any, Final

from chaos.faults import FAULTS
from chaos.reference import NOUNS, entries
from chaos.yaml_file import read_yaml, text_of
from lab.play.prepare import EXPERIMENTS
from lab.topology.lab_file import SHIPPED
from services.knobs import table

WORDS: Final = (
    *("", " ", "all", "on", "off", "true", "null", "~", "30s", "5m", "-5s", "1e9s", "20%", "0.2/s"),
    *("vcenter", "kms", "esxi-001", "vm-01", "role:esxi", "2 of all", "esxi-[001-002]", "default"),
    *(
        "../x",
        "a/b",
        "\x00",
        "\x1b[31m",
        "\u202e",
        "a\nb",
        "x" * 300,
        "١٢s",
        "é",
        "[",
        "]",
        "{",
        "*a",
    ),
    *(">= 1", "== 100%", "< 60s", "wan + 20s", "wan", "libtpms", "model", "none", "8.0U3", "6.5"),
    *("1:30", "0x10", "0b1", "2001-01-01", "!!binary aGk=", "&a b", ".inf", ".nan", "standard"),
    *(entry.name for noun in NOUNS for entry in entries(noun)),
)
NUMBERS: Final = (0, 1, -1, 2, 3, 64, 65, 1000, 100_000, 2**31, 2**63, 2**64, 10**400, 0.5, 1e300)
KEYS: Final = (
    *("apiVersion", "kind", "name", "title", "pace", "sites", "vcenters", "kms", "providers", "x"),
    *("clusters", "knobs", "hosts", "vms", "count", "site", "servers", "default", "type", "pack"),
    *("topology", "use", "with", "requires", "workload", "op", "rate", "hypothesis", "before"),
    *(
        "during",
        "after",
        "recover",
        "within",
        "probe",
        "is",
        "on",
        "guards",
        "lease",
        "blast_radius",
    ),
    *("schedule", "fault", "id", "at", "for", "cure", "checks", "add", "seed", "duration", "until"),
    *(name for kind in FAULTS for name in kind.params.model_fields),
    *table(),
)


SIGNS: Final = "[]{}:,-#&*!|>'\"%@`\n\t \x00\x85\u2028é\ud800"


@cache
def _known(folder: Path) -> list[tuple[str, Any]]:
    """Texts and values of the files that keystead has in this folder."""
    texts = [text_of(path) for path in sorted(folder.glob("*.yaml"))]
    return [(text, read_yaml(text).data) for text in texts]


def value(draw: random.Random, depth: int = 3) -> Any:
    """Any plain value."""
    match draw.randrange(8 if depth else 5):
        case 0:
            return draw.choice(NUMBERS)
        case 1:
            return draw.choice((True, False, None))
        case 2 | 3 | 4:
            return draw.choice(WORDS)
        case 5 | 6:
            return [value(draw, depth - 1) for _ in range(draw.randrange(4))]
        case _:
            return {draw.choice(KEYS): value(draw, depth - 1) for _ in range(draw.randrange(4))}


def changed(draw: random.Random, data: Any) -> Any:
    """``data`` with one part replaced, added, doubled or left out."""
    if draw.random() < 0.25 or not isinstance(data, dict | list) or not data:
        return value(draw)
    if isinstance(data, list):
        place = draw.randrange(len(data))
        match draw.randrange(4):
            case 0:
                return [*data[:place], *data[place + 1 :]]
            case 1:
                return [*data, data[place]]
            case _:
                return [*data[:place], changed(draw, data[place]), *data[place + 1 :]]
    key = draw.choice(sorted(data))
    match draw.randrange(5):
        case 0:
            return {name: item for name, item in data.items() if name != key}
        case 1:
            return {**data, draw.choice(KEYS): value(draw)}
        case _:
            return {**data, key: changed(draw, data[key])}


def _scrambled(draw: random.Random, text: str) -> str:
    """The text with some characters gone, doubled or others."""
    found = list(text)
    for _ in range(draw.randrange(1, 6)):
        place = draw.randrange(len(found))
        found[place] = draw.choice(
            (
                "",
                found[place] * 2,
                *"[]{}:,-#&*!|>'\"%@`\n\t \x00\x85\u2028é\ud800",
                draw.choice(WORDS),
            )
        )
    return "".join(found)


def lab(draw: random.Random) -> str:
    """The text of something like a lab file."""
    return _some(draw, SHIPPED)


def experiment(draw: random.Random) -> str:
    """The text of something like an experiment."""
    return _some(draw, EXPERIMENTS)


def _some(draw: random.Random, folder: Path) -> str:
    text, data = draw.choice(_known(folder))
    match draw.randrange(10):
        case 0 | 1:
            return _scrambled(draw, text)
        case 2:
            return "".join(draw.choice(WORDS) + draw.choice(":\n -,[]{}") for _ in range(40))
        case 3:
            return json.dumps(value(draw, 5))
        case _:
            for _ in range(draw.randrange(1, 4)):
                data = changed(draw, data)
            return json.dumps(data)
