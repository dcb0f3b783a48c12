"""Which names of a list do the code, or its tests, mention."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.tidy.tree import sources

_TABLES = ("lab/schema/errors.py", "chaos/errors.py")
_OURS = ("tests/tidy/",)
_SWEEP = "tests/sweep/"  # executes a command of the product


def texts(*, of_tests: bool) -> list[str]:
    """What the code, or what its tests say; the tables and these tests prove nothing."""
    return [
        source.text
        for source in sources()
        if (source.test and not source.path.startswith(_SWEEP)) == of_tests
        and (source.python or source.shell)
        and not source.path.startswith(_OURS)
        and source.path not in _TABLES
    ]


def unmentioned(names: Iterable[str], told: Iterable[str]) -> list[str]:
    """Names that no text has. ``vm.on`` is also named by ``vm on`` and by ``"vm", "on"``."""
    text = "\n".join(told)

    def found(name: str) -> bool:
        first, *rest = (re.escape(part) for part in name.split("."))
        # It begins with a literal, which is looked for faster than what stands before it.
        first = rf"{first}(?<![\w.-]{first})"
        return re.search(r"[\"', .]{1,4}".join([first, *rest]) + r"(?![\w-])", text) is not None

    return [name for name in names if not found(name)]
