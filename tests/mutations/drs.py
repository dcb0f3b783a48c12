"""Planted bugs of DRS: which named test turns red for which, and what it says then."""

from __future__ import annotations

from typing import Final

_E2E: Final = "tests/e2e/test_drs.py"

DRS: Final[tuple[tuple[str, str, str], ...]] = (
    ("drs_looks_at_keys", f"{_E2E}::test_a_host_without_the_key_is_not", "EncryptionKeyRequired"),
    (
        "drs_ignores_maintenance",
        f"{_E2E}::test_a_host_in_maintenance_mode_is_passed_over",
        "esxi-003",
    ),
    ("drs_counts_late", f"{_E2E}::test_many_at_once_are_spread", "esxi-003"),
    ("manual_is_automated", f"{_E2E}::test_nobody_chooses_in_manual_mode", "esxi-003"),
    (
        "cold_move_left_open",
        "tests/e2e/test_drs_kills.py"
        "::test_who_falls_at_any_moment_leaves_it_registered_once[vcenter-crash]",
        "vcenter fell at moment",
    ),
)
