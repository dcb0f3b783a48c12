"""The planted bugs of encrypted vSAN: mutation, test, and what it says (``table.Killed``)."""

from __future__ import annotations

from typing import Final

_KILLS: Final = "tests/e2e/test_vsan_kills.py"
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
)
