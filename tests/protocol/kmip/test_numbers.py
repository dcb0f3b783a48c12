"""KMIP's numbers, compared one by one with those of an implementation of other people (PyKMIP)."""

from __future__ import annotations

from enum import Enum
from types import ModuleType

import pytest

from protocol.kmip import algorithms, enums, tags, ttlv

THEIR_NAMES = {"tag": "tags", "type": "types"}
THEIR_MEMBERS = {"OPAQUE_OBJECT": "opaquedata", "DES3": "tripledes"}


def _enumerations(module: ModuleType) -> list[type[Enum]]:
    found = (one for one in vars(module).values() if isinstance(one, type))
    return [cls for cls in found if issubclass(cls, Enum) and cls is not Enum]


def _fold(name: str) -> str:
    return name.replace("_", "").lower()


OURS = {
    cls
    for module in (enums, algorithms, tags, ttlv)
    for cls in _enumerations(module)
    if cls.__module__.startswith("protocol.kmip") and len(cls)
}


@pytest.mark.parametrize(
    "ours",
    [pytest.param(cls, id=cls.__name__) for cls in sorted(OURS, key=lambda cls: cls.__name__)],
)
def test_numbers_are_those_of_another_implementation(ours: type[Enum]) -> None:
    classes = {
        _fold(cls.__name__): cls for cls in _enumerations(pytest.importorskip("kmip.core.enums"))
    }
    name = _fold(ours.__name__)
    theirs = classes[THEIR_NAMES.get(name, name)].__members__.items()
    numbers: dict[str | None, int] = {_fold(word): member.value for word, member in theirs}
    wrong = {
        word: (int(member.value), numbers.get(_fold(word), numbers.get(THEIR_MEMBERS.get(word))))
        for word, member in ours.__members__.items()
    }
    assert {word: both for word, both in wrong.items() if both[0] != both[1]} == {}
