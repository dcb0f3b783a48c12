"""Text from outside, made safe to show: it moves no cursor and hides nothing.

Names, events and logs repeat text of people and files. A control character in it could overwrite
lines above, change the title of a window, or reverse the order of letters.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

SHOWN: Final = 40  # characters of a wrong word that a message repeats


class _Escapes(dict[int, str | int]):
    """For ``str.translate``: printable characters stay, others become escapes."""

    def __missing__(self, code: int) -> str | int:
        character = chr(code)
        self[code] = made = code if character.isprintable() else self.escape(character)
        return made

    def escape(self, character: str) -> str:
        """An escape as in a Python string literal."""
        return character.encode("unicode_escape").decode("ascii")


class _JsonEscapes(_Escapes):
    def escape(self, character: str) -> str:
        """An escape as in a JSON string."""
        return json.dumps(character)[1:-1]


_LINES: Final = {ord("\n"): "\n", ord("\t"): "\t"}
_TEXT: Final = _Escapes(_LINES)
_CELL: Final = _Escapes()
_JSON: Final = _JsonEscapes(_LINES)


def printable(text: str) -> str:
    """``text`` of one or more lines, with everything escaped but printable characters, newlines and
    tabs."""
    return text.translate(_TEXT)


def one_line(text: str) -> str:
    """``text`` on one line: newlines and tabs are escaped too."""
    return text.translate(_CELL)


def printable_json(text: str) -> str:
    """A JSON document with escapes for characters that JSON allows and that control a terminal."""
    return text.translate(_JSON)


def quote(text: str) -> str:
    """``text`` for use in a message: quoted, control characters escaped, shortened."""
    return repr(text) if len(text) <= SHOWN else f"{text[:SHOWN]!r} ... ({len(text)} characters)"


def is_text(text: str, longest: int) -> bool:
    """Whether ``text`` is one line of 1 to ``longest`` printable characters of ASCII."""
    return 1 <= len(text) <= longest and text.isascii() and text.isprintable()


def quote_if_needed(text: str) -> str:
    """``text`` unchanged when it is one short, printable word; else as ``quote`` returns it."""
    plain = text and text.isprintable() and len(text) <= SHOWN and text == text.strip()
    return text if plain else quote(text)


def did_you_mean(name: str, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> str:
    """``; did you mean A, B?`` with up to ``most`` of the names that are close to ``name``; empty
    when none is. ``cutoff``: as of ``difflib.get_close_matches``."""
    import difflib  # only for a wrong name

    near = difflib.get_close_matches(name[:100], list(known), n=most, cutoff=cutoff)
    return f"; did you mean {', '.join(near)}?" if near else ""
