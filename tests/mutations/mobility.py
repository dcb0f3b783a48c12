"""Planted bugs of vMotion: which named test turns red for which, and what it says then."""

from __future__ import annotations

from typing import Final

_ESX: Final = "tests/services/esxi"
_MOVE: Final = "tests/lab/api/test_relocation.py"
_STRUCK: Final = f"{_MOVE}::test_whatever_fails_at_whatever_step_one_vcenter_has_it"

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
        "migration_begun_again",
        f"{_ESX}/test_migration.py::test_a_migration_that_failed_is_not_begun_again",
        "it was not refused",
    ),
    (
        "autostart_takes_what_comes",
        f"{_ESX}/test_migration.py::test_a_switch_over_nobody_heard_of_has_one_outcome[question]",
        "it was not refused",
    ),
    (
        "arrivals_unjudged",
        f"{_MOVE}::test_one_that_is_off_is_refused_as_well",
        "it was not refused",
    ),
    (
        "arrival_taken_for_news",
        f"{_STRUCK}[running-power_loss target]",
        "len(found",
    ),
    (
        "old_word_of_a_departure",
        f"{_STRUCK}[off-power_loss source]",
        "len(found",
    ),
)
