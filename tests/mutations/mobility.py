"""Planted bugs of vMotion: which named test turns red for which, and what it says then."""

from __future__ import annotations

from typing import Final

_ESX: Final = "tests/services/esxi"

MOBILITY: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "stream_in_clear",
        f"{_ESX}/test_migration.py::test_nothing_of_its_memory_is_in_clear_on_the_way",
        "secret not in whole",
    ),
    (
        "source_goes_on_anyway",
        f"{_ESX}/test_migration.py::test_a_target_that_took_it_and_fell_leaves_it_startable",
        "running(rig) == []",
    ),
    (
        "offer_unread",
        f"{_ESX}/test_migration.py::test_a_switch_over_without_an_offer_starts_nothing",
        "it was not refused",
    ),
    (
        "offer_left",
        f"{_ESX}/test_migration.py::test_a_source_that_goes_on_takes_its_offer_back",
        "MigrationOffer",
    ),
    (
        "offered_as_it_was",
        f"{_ESX}/test_migration.py::"
        "test_a_vm_that_came_under_another_key_meanwhile_goes_on_at_its_source",
        "it was not refused",
    ),
    (
        "migration_begun_again",
        f"{_ESX}/test_migration.py::test_a_migration_that_failed_is_not_begun_again",
        "it was not refused",
    ),
)

IN_MOVES: Final = frozenset({"arrival_taken_for_news", "old_word_of_a_departure"})
"""Of moves between vCenters; seen by ``test_moves``."""
