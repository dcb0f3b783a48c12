"""The planted bugs of encrypted vSAN: mutation, test, and what it says (``table.Killed``)."""

from __future__ import annotations

from typing import Final

_KILLS: Final = "tests/e2e/test_vsan_kills.py"
_LOSSES: Final = "tests/e2e/test_vsan_losses.py"
_OBJECTS: Final = "tests/e2e/test_vsan_objects.py"

VSAN: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "vsan_kek_not_persisted",
        f"{_KILLS}::test_a_host_with_persistence_needs_nobody",
        "is absent",
    ),
    (
        "vsan_host_waits_for_vcenter",
        f"{_KILLS}::test_a_host_asks_the_key_server_itself",
        "is absent",
    ),
    (
        "vsan_wrong_kek_opens",
        "tests/services/esxi/test_vsan_label.py::test_only_its_own_kek_opens_a_disk",
        "DID NOT RAISE",
    ),
    (
        "vsan_rekey_leaves_a_disk",
        f"{_KILLS}::test_a_shallow_rekey_is_settled_when_every_disk_has_the_new_key",
        "AssertionError",
    ),
    (
        "vsan_old_replica_is_read",
        f"{_OBJECTS}::test_a_replica_that_was_away_is_not_read_as_it_was",
        "AssertionError",
    ),
    (
        "vsan_writer_counts_alone",
        f"{_OBJECTS}::test_a_write_that_its_host_alone_has_seen_stays_below_a_later_one",
        "AssertionError",
    ),
    (
        "vsan_blank_component_votes",
        f"{_OBJECTS}::test_a_witness_that_was_made_again_has_no_vote_before_it_knows",
        "DID NOT RAISE",
    ),
    (
        "vsan_write_acknowledged_alone",
        f"{_LOSSES}::test_what_one_component_alone_has_seen_is_neither_acknowledged_nor_read",
        "DID NOT RAISE",
    ),
    (
        "vsan_vote_not_durable",
        f"{_LOSSES}::test_what_was_read_once_is_durable_on_a_majority",
        "AssertionError",
    ),
    (
        "vsan_blanked_on_a_vote",
        f"{_LOSSES}::test_a_deep_rekey_blanks_no_replica_whose_other_one_is_damaged",
        "no current replica of it can be read",
    ),
    (
        "vsan_component_made_beside_a_hidden_one",
        f"{_LOSSES}::test_a_host_makes_no_component_that_a_sick_group_of_it_may_hide",
        "DID NOT RAISE",
    ),
    (
        "vsan_first_component_counts",
        f"{_LOSSES}::test_a_disk_that_is_put_back_does_not_bring_back_an_old_vote",
        "DID NOT RAISE",
    ),
    (
        "vsan_copy_in_the_making_counts",
        f"{_LOSSES}::test_a_copy_in_the_making_does_not_count_when_its_original_is_lost",
        "DID NOT RAISE",
    ),
)
