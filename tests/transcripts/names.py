"""What no seed and no machine fixes, by the same name wherever it stands.

The same thing gets the same name, so that a transcript still tells which key it was; names are as
long as what they replace, so that tables stay as they are.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

EXAMPLE = "5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001"
"""The key of the examples in the help texts: the first one that a transcript shows."""

_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.I)
_SHORT = re.compile(r"\b[0-9a-f]{8}(?=…)")
_HEX = re.compile(r"(?<![.\w])(?!(.)\1+\b)[0-9a-f]{16,}\b")  # 00…00 is no digest
_BLOB = re.compile(r"(?<=/)[A-Za-z0-9_-]{60,}\b")  # a trusted key's id
_PEM = re.compile(r"(-----BEGIN [A-Z ]+-----(?:\n|\\n)).*?((?:\n|\\n)-----END)", re.S)
_ISO = re.compile(r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?=Z|\+00:00| UTC|\")")
_UNIX = re.compile(r"\b1[78]\d{8}(?:\.\d+)?\b")
_PYTHON = re.compile(r"(?<![\w.])3\.1[1-9](?![\w.%])")
_LATENCY = re.compile(
    r"\n *\"kms_\w+\": \d+,|,? ?\bkms_(?:total_us|beyond|within_\d+ms)(?:=|: )\d+"
)
_FINE = re.compile(r"(?<![\w.])\d+\.\d{3,}(?![\w.])")  # moments of a run, below 100 ms
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Names:
    """The names of one transcript; times count from ``epoch``, Unix seconds, in whole seconds.
    Without one they are of the real clock, and all the same.
    """

    def __init__(self) -> None:
        self.epoch: float | None = None
        self._count = 0
        self._ids: dict[str, str] = {}
        self._heads: dict[str, str] = {}  # the first eight characters -> the first name of such
        self._whole: dict[str, str] = {}  # the name -> what it stands for
        self._hex: dict[str, str] = {}
        self._blobs: dict[str, str] = {}
        self._aliases: dict[str, str] = {}
        self._places: dict[str, str] = {}

    def alias(self, name: str, of: str) -> None:
        """From now on ``name`` in a command means what was shown as ``of``."""
        self._aliases[name] = of

    def place(self, real: str, address: str) -> None:
        """A server that was started is at ``real``, and called ``address``."""
        self._places[real] = address

    def real(self, line: str) -> str:
        """A command line with what the names in it stand for."""
        for real, name in self._places.items():
            line = line.replace(name, real)
        for name, of in self._aliases.items():
            line = line.replace(name, of)
        for name, real in self._whole.items():
            line = line.replace(name, real)
        for real, name in (*self._hex.items(), *self._blobs.items()):
            line = line.replace(name, real)
        return line

    def told(self, text: str) -> str:
        """What was said, with names."""
        for real, name in self._places.items():
            text = text.replace(real, name)
        text = _UUID.sub(self._id, text)
        text = _SHORT.sub(self._short, text)
        text = _HEX.sub(self._digest, text)
        text = _BLOB.sub(self._blob, text)
        text = _PEM.sub(r"\1...\2", text)
        text = _ISO.sub(self._moment, text)
        text = _UNIX.sub(self._seconds, text)
        text = _PYTHON.sub("3.x", text)
        text = _LATENCY.sub("", text)
        return _FINE.sub(lambda match: f"{float(match[0]):.1f}", text)

    def _id(self, match: re.Match[str]) -> str:
        real = match[0].lower()
        if real in self._whole:
            return match[0]
        name = self._ids.get(real) or self._heads.get(real[:8])
        if name is None or self._whole.get(name, real) != real:
            name = self._new(real[:8])
        self._ids[real], self._whole[name] = name, real
        return name if match[0] == real else name.upper()

    def _short(self, match: re.Match[str]) -> str:
        known = any(name.startswith(match[0]) for name in self._heads.values())
        return match[0] if known else (self._heads.get(match[0]) or self._new(match[0]))[:8]

    def _new(self, head: str) -> str:
        self._count += 1
        name = EXAMPLE if self._count == 1 else _uuid(self._count)
        self._heads.setdefault(head, name)
        return name

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
        named = datetime.fromtimestamp(self._since(at), UTC)
        shown = named.strftime(f"%Y-%m-%d{match[0][10]}%H:%M:%S.000")
        return shown[: len(match[0])]

    def _seconds(self, match: re.Match[str]) -> str:
        return str(self._since(float(match[0])))

    def _since(self, at: float) -> int:
        begin = int(BEGIN.timestamp())
        return begin if self.epoch is None else begin + math.floor(at - self.epoch)


def _uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{number:012x}"


def _hex(number: int, length: int) -> str:
    return f"{number:04x}" + "e0" * (length // 2 - 2) + "e" * (length % 2)
