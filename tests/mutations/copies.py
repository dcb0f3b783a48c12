"""The planted bugs of clones and snapshots, and of who may have what done: mutation, test, and what
it says (``table.Killed``)."""

from __future__ import annotations

from typing import Final

_ESX, _VC = "tests/services/esxi", "tests/services/vcenter"

COPIES: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "clone_keeps_the_old_keys",
        f"{_ESX}/test_clone.py::test_a_clone_with_new_keys_shares_nothing_with_its_source",
        "AssertionError",
    ),
    (
        "replaced_vtpm_is_a_copy",
        f"{_ESX}/test_clone.py::test_a_replaced_vtpm_has_seeds_of_its_own_and_nothing_sealed",
        "of_copy.ek != of_source.ek",
    ),
    (
        "snapshots_in_the_way",
        f"{_ESX}/test_snapshots.py::test_what_gives_a_disk_another_key_waits_for_the_snapshots",
        "not refused",
    ),
    (
        "reverted_without_its_vtpm",
        f"{_ESX}/test_snapshots.py::test_a_vtpm_goes_back_with_its_vm",
        "its counter went back",
    ),
    (
        "memory_in_clear",
        f"{_ESX}/test_memory_snapshots.py::test_the_memory_of_an_encrypted_vm_is_nowhere_in_clear",
        "secret not in",
    ),
    (
        "reverted_without_its_memory",
        f"{_ESX}/test_memory_snapshots.py::test_a_vm_that_is_off_runs_again_where_it_was",
        "run_of(rig) == run",
    ),
    (
        "revert_stops_first",
        f"{_ESX}/test_memory_snapshots.py::"
        "test_its_keys_are_needed_and_without_them_it_stays_as_it_is",
        "power is power",
    ),
    (
        "clone_of_no_instant",
        f"{_ESX}/test_running_clone.py::test_a_clone_is_of_one_instant[3]",
        "first - second",
    ),
)

RIGHTS: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "task_not_asked",
        f"{_VC}/test_privileges.py::"
        "test_who_may_only_look_gives_no_task_and_leaves_no_trace[RecryptVm]",
        "NoPermission",
    ),
    (
        "keys_fetched_for_anybody",
        f"{_VC}/test_privileges.py::"
        "test_registering_needs_register_vm_only_when_keys_have_to_be_fetched",
        "not refused",
    ),
)
