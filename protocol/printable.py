"""Text from outside as people may be shown it: it moves no cursor and hides nothing.

Names, events and logs repeat what people and files said. A control character in them could
rewrite lines above, change the title of a window, or turn the order of letters around.
"""

from __future__ import annotations

import json
from typing import Final

SHOWN: Final = 40  # characters of a wrong word that a message repeats


class _Escapes(dict[int, str | int]):
    """For ``str.translate``: printable characters stay, any other becomes its escape."""

    def __missing__(self, code: int) -> str | int:
        character = chr(code)
        self[code] = made = code if character.isprintable() else self.escape(character)
        return made

    def escape(self, character: str) -> str:
        """As in a string literal of Python."""
        return character.encode("unicode_escape").decode("ascii")


class _JsonEscapes(_Escapes):
    def escape(self, character: str) -> str:
        """As in a string of JSON."""
        return json.dumps(character)[1:-1]


_LINES: Final = {ord("\n"): "\n", ord("\t"): "\t"}
_TEXT: Final = _Escapes(_LINES)
_CELL: Final = _Escapes()
_JSON: Final = _JsonEscapes(_LINES)


def printable(text: str) -> str:
    """``text`` of one or more lines; all but printable characters, newlines and tabs escaped."""
    return text.translate(_TEXT)


def one_line(text: str) -> str:
    """``text`` as one line: newlines and tabs are escaped too."""
    return text.translate(_CELL)


def printable_json(text: str) -> str:
    """A JSON document with escapes for characters that JSON allows and a terminal obeys."""
    return text.translate(_JSON)


def quote(text: str) -> str:
    """``text`` as a message may repeat it: in quotes, control characters escaped, not too long."""
    return repr(text) if len(text) <= SHOWN else f"{text[:SHOWN]!r} ... ({len(text)} characters)"


def is_text(text: str, longest: int) -> bool:
    """Whether ``text`` is one line of 1 to ``longest`` printable characters of ASCII."""
    return 1 <= len(text) <= longest and text.isascii() and text.isprintable()


def quote_if_needed(text: str) -> str:
    """``text`` as it is when it is one short, printable word; else ``quoted``."""
    plain = text and text.isprintable() and len(text) <= SHOWN and text == text.strip()
    return text if plain else quote(text)
