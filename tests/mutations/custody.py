"""Planted bugs in how a key server seals keys, and makes them: bug, the test that sees it, what it
tells."""

from __future__ import annotations

from typing import Final

CUSTODY: Final = (
    (
        "anchor_never_follows",
        "tests/services/kms/test_following.py::test_a_change_during_the_wait_has_its_anchor_too",
        "DID NOT RAISE",
    ),
    (
        "kek_retired_early",
        "tests/services/kms/test_custody.py::test_the_next_life_goes_on_with_it",
        "under a KEK that is gone",
    ),
    (
        "plain_key_answered_early",
        "tests/services/kms/test_plain_keys.py::test_a_full_disk_fails_all_and_loses_none[durable]",
        "assert None is <ResultReason.GENERAL_FAILURE",
    ),
    (
        "plain_keys_untold",
        "tests/services/kms/test_plain_keys.py::test_what_comes_together_is_one_commit[durable]",
        "assert [2, 0, 4, 1, 5]",
    ),
)
