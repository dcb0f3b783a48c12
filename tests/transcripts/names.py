"""What no seed and no machine fixes, by the same name wherever it stands.

The same thing gets the same name, so that a transcript still tells which key it was; names are as
long as what they replace, so that tables stay as they are.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

EXAMPLE = "5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001"
"""The key of the examples in the help texts: the first one that a transcript shows."""

_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.I)
_SHORT = re.compile(r"\b[0-9a-f]{8}(?=…)")
_HEX = re.compile(r"(?<![.\w])(?!(.)\1+\b)[0-9a-f]{16,}\b")  # 00…00 is no digest
_BLOB = re.compile(r"(?<=/)[A-Za-z0-9_-]{60,}\b")  # a trusted key's id
_PEM = re.compile(r"(-----BEGIN [A-Z ]+-----(?:\n|\\n)).*?((?:\n|\\n)-----END)", re.S)
_ISO = re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?=Z|\+00:00)")
_UNIX = re.compile(r"\b1[78]\d{8}(?:\.\d+)?\b")
_GAP = re.compile(r"(?<=\b\d\.\d\d)\d(?= s\b)")  # of a switch-over: below 10 ms
_JSON_GAP = re.compile(r"(?<=\"gap_s\": )[\d.]+")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Names:
    """The names of one transcript; times count from ``epoch``, Unix seconds, in whole seconds."""

    def __init__(self) -> None:
        self.epoch = BEGIN.timestamp()
        self._ids: dict[str, str] = {}  # the first eight characters -> the name
        self._whole: dict[str, str] = {}  # the name -> what it stands for
        self._hex: dict[str, str] = {}
        self._blobs: dict[str, str] = {}
        self._aliases: dict[str, str] = {}

    def alias(self, name: str, of: str) -> None:
        """From now on ``name`` in a command means what was shown as ``of``."""
        self._aliases[name] = of

    def real(self, line: str) -> str:
        """A command line with what the names in it stand for."""
        for name, of in self._aliases.items():
            line = line.replace(name, of)
        for name, real in self._whole.items():
            line = line.replace(name, real)
        for real, name in (*self._hex.items(), *self._blobs.items()):
            line = line.replace(name, real)
        return line

    def told(self, text: str) -> str:
        """What was said, with names."""
        text = _UUID.sub(self._id, text)
        text = _SHORT.sub(self._short, text)
        text = _HEX.sub(self._digest, text)
        text = _BLOB.sub(self._blob, text)
        text = _PEM.sub(r"\1...\2", text)
        text = _GAP.sub("0", text)
        text = _JSON_GAP.sub(lambda match: str(round(float(match[0]), 2)), text)
        text = _ISO.sub(self._moment, text)
        return _UNIX.sub(self._seconds, text)

    def _id(self, match: re.Match[str]) -> str:
        real = match[0].lower()
        if real in self._whole:
            return match[0]
        name = self._named(real[:8])
        self._whole[name] = real
        return name if match[0] == real else name.upper()

    def _short(self, match: re.Match[str]) -> str:
        known = any(name.startswith(match[0]) for name in self._ids.values())
        return match[0] if known else self._named(match[0])[:8]

    def _named(self, head: str) -> str:
        number = len(self._ids) + 1
        return self._ids.setdefault(head, EXAMPLE if number == 1 else _uuid(number))

    def _digest(self, match: re.Match[str]) -> str:
        if match[0] in self._hex.values():
            return match[0]
        return self._hex.setdefault(match[0], _hex(len(self._hex) + 1, len(match[0])))

    def _blob(self, match: re.Match[str]) -> str:
        if match[0] in self._blobs.values():
            return match[0]
        name = f"{len(self._blobs) + 1:08}" + "A" * (len(match[0]) - 8)
        return self._blobs.setdefault(match[0], name)

    def _moment(self, match: re.Match[str]) -> str:
        at = datetime.fromisoformat(match[0]).replace(tzinfo=UTC).timestamp()
        named = BEGIN + timedelta(seconds=math.floor(at - self.epoch))
        return named.strftime("%Y-%m-%dT%H:%M:%S.000")[: len(match[0])]

    def _seconds(self, match: re.Match[str]) -> str:
        return str(int(BEGIN.timestamp()) + math.floor(float(match[0]) - self.epoch))


def _uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{number:012x}"


def _hex(number: int, length: int) -> str:
    return f"{number:04x}" + "e0" * (length // 2 - 2) + "e" * (length % 2)
