"""The planted bugs that turn rows outside of the grid red: row, bug, and what is told then."""

from __future__ import annotations

from typing import Final

TURNED: Final = (
    ("X01", "enabled_without_tpm", "exit code 0"),
    ("X02", "persisted_at_a_stop_only", "and the table says OK"),
    ("X03", "restart_through_vcenter", "and the table says OK"),
    ("X04", "vsan_persisted_by_any_release", "OK, and the table says NO"),
    ("X05", "removal_ignored", "keys are in its archive"),
    ("X06", "store_used_while_off", "SAFE, and the table says UNSAFE"),
    ("X07", "tpm_requirement_forgotten", "OK, and the table says NO"),
    ("X07", "left_out_lacks_a_key", "LK, and the table says NO"),
    ("X08", "unexported_provider_usable", "OK, and the table says NO"),
    ("X12", "token_survives_reboot", "SAFE, and the table says UNSAFE"),
    ("X13", "power_on_asks_vcenter", "and the table says OK"),
    ("X14", "vsan_host_waits_for_vcenter", "NO, and the table says OK"),
    ("X15", "vsan_keys_through_vcenter", "vCenter has handed out the key"),
    ("X16", "disk_key_makes_invalid", "locked, and not connected"),
    ("X17", "disk_key_makes_invalid", "locked, and not connected"),
    ("X18", "unsafe_host_starts_nothing", "and the table says OK"),
)

IN_OUTSIDE: Final = frozenset(bug for _, bug, _ in TURNED)
