"""Planted bugs in what seals a key server's keys: bug, the test that sees it, what it tells."""

from __future__ import annotations

from typing import Final

CUSTODY: Final = (
    (
        "kek_retired_early",
        "tests/services/kms/test_custody.py::test_the_next_life_goes_on_with_it",
        "under a KEK that is gone",
    ),
)
