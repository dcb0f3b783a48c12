"""Planted bugs that a shipped experiment turns red with, as its negative control."""

from __future__ import annotations

import re
from typing import Final

from lab.play.prepare import list_shipped

_BUG: Final = re.compile(
    r"^negative_control:\s*\{?\s*(?:patch|disable): (?P<bug>\w+)", re.MULTILINE
)
_TEXTS: Final = [path.read_text(encoding="utf-8") for path in list_shipped()]
IN_EXPERIMENTS: Final = frozenset(found["bug"] for text in _TEXTS for found in _BUG.finditer(text))
"""``tests/e2e/test_shipped_experiments.py`` plays each."""
