"""Planted bugs of vSphere HA: the bug, the test that turns red, and a part of what it says."""

from __future__ import annotations

from typing import Final

_TESTS: Final = "tests/services/esxi/test_ha.py"

HA: Final = (
    ("vm_lock_ignored", f"{_TESTS}::test_a_vm_lock_decides_in_the_end", "running(rig) == [A]"),
    ("datastore_heartbeat_ignored", f"{_TESTS}::test_a_partitioned_host_keeps_its_vms", "hostDown"),
    (
        "restarted_though_off",
        "tests/services/esxi/test_ha_left.py::"
        "test_a_vm_that_was_switched_off_before_its_restart_arrives_stays_off",
        "it was not refused",
    ),
    ("restart_through_vcenter", f"{_TESTS}::test_an_isolated_host_may_let_go", "not enough"),
    ("ownership_forgotten", f"{_TESTS}::test_a_host_that_is_back_drops_its_vms", "== [host]"),
)
