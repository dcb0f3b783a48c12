"""References to documents that are not in this tree.

A reader can follow the id of a rule (``docs/rules.md``), the name of a file that is here, or a
public specification with its number. The n-th section of nothing, a number in brackets, and the
rows of a table that nobody has lead nowhere.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import PurePosixPath

from tests.tidy.tree import Source, sources

_PUBLIC = re.compile(
    r"\b(KMIP|RFC|TCG|TPM|PC Client|FIPS|SP 800|NIST|OASIS|MessagePack|XDG|POSIX)\b"
)
_PLACES = {
    "a section of a document that is not here": re.compile(
        r"\b(?:[Bb]ehaviour|[Aa]rchitecture|[Ee]xperience|[Cc]haos|nats|tpm|kmip)"
        r"(?:\.md)?,? (?:§ ?|section )?\d+(?:\.\d+)*\b(?! ?[a-z]*s\b)"
    ),
    "a number in brackets": re.compile(
        r"(?<![\w.\])])\(\d{1,2}\.\d{1,2}(?:,? [A-Za-z][A-Za-z ]*-?\d+[\w ,-]*)?\)"
    ),
    "a number without its document": re.compile(
        r"\b(?:of|in|see|by) (?![6-9]\.\d)\d{1,2}\.\d{1,2}(?=[.:,;)] |[.:,;)\"']*$)"
        r"|\bas \d{1,2}\.\d{1,2} [a-z]+s\b|^\s*\"\"\"\d{1,2}\.\d{1,2}[:, ] ?"
    ),
    "a row of a table that is not here": re.compile(
        r"\b[Cc]ells \d|\bcells F\d|\bTT-[A-Z]\d|(?<![\w.-])M\d\d(?!\w)"
        r"|(?<![\w.-])X(?!(?:0[1-9]|1\d|20)\b)\d\d(?!\w)"  # the twenty of chaos.matrix.outside
    ),
}
_SECTION = re.compile(r"(?<!\w)(?:[Ss]ections? |§ ?)\d")
_MAY_REFER = re.compile(r"\d|\.md")
_FILE = re.compile(r"[\w./-]*\w\.md\b")
_EXAMPLES = ("tests/docs/", "tests/tidy/")
"""Where tests of references have bad ones to find."""
_PROSE = (".py", ".md", ".yaml", ".toml")


def leads_nowhere(source: Source) -> list[str]:
    """References that nobody who has only this tree can follow."""
    if not (source.path.endswith(_PROSE) or source.shell):
        return []
    found = []
    for number, line in enumerate(source.lines, 1):
        if not _MAY_REFER.search(line):
            continue
        for what, pattern in _PLACES.items():
            if match := pattern.search(line):
                found.append(source.at(number, f"{what}: {match.group().strip()}"))
        if (match := _SECTION.search(line)) and not _public(source, number):
            found.append(source.at(number, f"a section of nothing: {match.group()}"))
        for name in _FILE.findall(line):
            if not source.path.startswith(_EXAMPLES) and not _is_here(name):
                found.append(source.at(number, f"a document that is not here: {name}"))
    return found


def _public(source: Source, number: int) -> bool:
    """Whether this line, or the one before, names a public specification."""
    return bool(_PUBLIC.search(" ".join(source.lines[max(0, number - 2) : number])))


def _is_here(name: str) -> bool:
    return PurePosixPath(name).name in _names()


@cache
def _names() -> frozenset[str]:
    return frozenset(PurePosixPath(source.path).name for source in sources())
