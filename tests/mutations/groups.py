"""Planted bugs of key servers that replicate after the answer: which test turns red for which."""

from __future__ import annotations

from typing import Final

_GROUP: Final = "tests/services/kms/test_group.py"

GROUPS: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "untold_in_memory",
        f"{_GROUP}::test_a_restart_forgets_nothing_that_is_to_be_told",
        "None",
    ),
    ("ids_in_order", f"{_GROUP}::test_random_ids_never_meet", "one id, two materials"),
)
