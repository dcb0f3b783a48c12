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
    (
        "appointment_unheard",
        f"{_GROUP}::test_without_the_active_server_nothing_changes_until_another_is_appointed",
        "durable, and told",
    ),
    ("ids_in_order", f"{_GROUP}::test_random_ids_never_meet", "one id, two materials"),
)
