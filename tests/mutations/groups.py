"""Planted bugs of key servers that replicate after the answer, and of what they have to refuse."""

from __future__ import annotations

from typing import Final

_GROUP: Final = "tests/services/kms/test_group.py"
_BACK: Final = "tests/services/kms/test_put_back.py"

_ORDER: Final = "tests/services/kms/test_linear.py::test_what_clients_saw_has_an_order"

GROUPS: Final[tuple[tuple[str, str, str], ...]] = (
    ("reads_first_answer", _ORDER, "no order explains what clients saw"),
    ("peer_stores_nothing", _ORDER, "no order explains what clients saw"),
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
    (
        "age_unchecked",
        "tests/services/kms/test_rollback.py"
        "::test_a_rolled_back_server_of_a_pair_is_filled_by_the_other",
        "older than the server",
    ),
    (
        "lost_keys_unasked",
        f"{_GROUP}::test_a_server_put_back_to_an_older_state_is_filled_again",
        "Extra items",
    ),
    (
        "epochs_of_the_disk",
        f"{_BACK}::test_a_number_is_not_given_again_though_the_only_one_who_could_tell_is_gone",
        "assert (False",
    ),
    (
        "totals_uncompared",
        f"{_BACK}::test_a_key_that_no_log_has_is_found_by_comparing_totals",
        "kms-2",
    ),
    (
        "own_end_untold",
        f"{_BACK}::test_keys_that_a_server_of_a_pair_has_made_itself_come_back_to_it",
        "assert",
    ),
    (
        "handed_on_unread",
        "tests/services/kms/test_handing.py::test_what_was_made_through_a_server_is_there_at_once",
        "it reads for itself",
    ),
    (
        "rejects_any_key",
        "tests/services/kms/test_rejections.py::test_only_the_keys_that_are_named",
        "[None, None]",
    ),
    (
        "moved_at_next_start",
        "tests/lab/kmip/test_connections.py"
        "::test_who_is_moved_is_elsewhere_over_the_connection_that_is_open",
        "AssertionError",
    ),
    ("ids_in_order", f"{_GROUP}::test_random_ids_never_meet", "one id, two materials"),
)
