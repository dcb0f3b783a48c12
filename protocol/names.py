"""Names that people give: the characters and the length that each kind may have. Pure checks.

A name becomes part of subjects on the broker, file paths, key ids (``provider/id``), selectors
(``vm-[01-04]``, ``3 of all``) and terminal output. Characters that any of these could misread are
refused where the name enters: in files, in commands, and again by each service.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from protocol.errors import InvalidName
from protocol.printable import quote
from protocol.terms import NodeName


class NameRule(msgspec.Struct, frozen=True):
    """The rule for names of one kind: ``what`` they name, ``allowed`` in words for people.

    ``longest`` counts characters. ``taken`` are words that have another meaning where such a name
    is used.
    """

    what: str
    allowed: str
    pattern: re.Pattern[str]
    longest: int
    taken: frozenset[str] = frozenset()

    def fault(self, text: str) -> str:
        """What is wrong with ``text`` as a name, in one sentence; empty when it is a valid name."""
        if text in self.taken:
            return f"{quote(text)} is a word of its own, so it is no {self.what}"
        if len(text) <= self.longest and self.pattern.fullmatch(text):
            return ""
        return f"{quote(text)} is no {self.what}: {self.rule}"

    @property
    def rule(self) -> str:
        """A sentence that states what is allowed."""
        return f"{self.allowed}, at most {self.longest} characters"

    def check(self, text: str) -> None:
        """``InvalidName`` when ``text`` is not a valid name of this kind."""
        wrong = self.fault(text)
        if wrong:
            raise InvalidName(wrong)


_LOWER: Final = re.compile(r"[a-z0-9](-?[a-z0-9])*")
_LOWER_TEXT: Final = "lower-case letters, digits and single hyphens between them"
_ANY_CASE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ANY_CASE_TEXT: Final = "letters, digits, '.', '_' and '-', beginning with a letter or digit"
_FREE: Final = re.compile(r"(?![ .-])[ -.0-\[\]-~]+(?<![ .])")  # printable ASCII
_FREE_TEXT: Final = (
    "letters, digits, spaces and signs of ASCII except '/' and '\\', "
    "no space or '.' at either end, no '-' at the beginning"
)
_SELECTING: Final = frozenset({"all"})
_NODES: Final = _SELECTING | {"client"}  # `link cut client vcenter`: clients of the vSphere APIs

LAB: Final = NameRule("lab name", _LOWER_TEXT, _LOWER, 40)
NODE: Final = NameRule("node name", _LOWER_TEXT, _LOWER, 48, _NODES)
"""A dot, ``*``, ``>`` or a space would widen the node's permissions on the broker."""
MACHINE: Final = NameRule("machine name", _LOWER_TEXT, _LOWER, 40, frozenset({"here"}))
"""``here`` is the machine where the lab's supervisor runs."""
SITE: Final = NameRule("site name", _LOWER_TEXT, _LOWER, 48)
CLUSTER: Final = NameRule("cluster name", _ANY_CASE_TEXT, _ANY_CASE, 80)
DATASTORE: Final = NameRule("datastore name", _ANY_CASE_TEXT, _ANY_CASE, 80)
PROVIDER: Final = NameRule("name of a key provider", _ANY_CASE_TEXT, _ANY_CASE, 128)
WRAPPING_KEY: Final = NameRule("id of a wrapping key", _ANY_CASE_TEXT, _ANY_CASE, 128)
VM: Final = NameRule("VM name", _FREE_TEXT, _FREE, 80, _SELECTING)
DUMP: Final = NameRule("name of a core dump", _ANY_CASE_TEXT, _ANY_CASE, 60)
VSAN_OBJECT: Final = NameRule("name of a vSAN object", _ANY_CASE_TEXT, _ANY_CASE, 80)
VSAN_DISK: Final = NameRule("name of a vSAN disk", _LOWER_TEXT, _LOWER, 40)
SNAPSHOT: Final = NameRule("name of a snapshot", _ANY_CASE_TEXT, _ANY_CASE, 80)
ROLE: Final = NameRule("name of a role", _ANY_CASE_TEXT, _ANY_CASE, 80)
PRINCIPAL: Final = NameRule(
    "name of a user",
    f"{_ANY_CASE_TEXT}, with an '@' before its domain",
    re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(@[A-Za-z0-9][A-Za-z0-9._-]*)?"),
    120,
)
TRUST_ITEM: Final = NameRule("name of an item of a Trust Authority", _ANY_CASE_TEXT, _ANY_CASE, 120)
"""A principal, CA certificate, endorsement key or base image (whose name is its version)."""
BACKUP: Final = NameRule("name of a backup", _ANY_CASE_TEXT, _ANY_CASE, 80)
EXPERIMENT: Final = NameRule("name of an experiment", _LOWER_TEXT, _LOWER, 60)
FAULT: Final = NameRule("id of a fault", _LOWER_TEXT, _LOWER, 60)
SCOPE: Final = NameRule("scope of keys", _ANY_CASE_TEXT, _ANY_CASE, 160)
RUN: Final = NameRule("name of a run", _ANY_CASE_TEXT, _ANY_CASE, 120)


def node_name(text: str) -> NodeName:
    """``text`` as a node name; ``InvalidName`` if the broker could misread it."""
    NODE.check(text)
    return NodeName(text)
