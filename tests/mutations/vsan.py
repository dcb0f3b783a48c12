"""The planted bugs of encrypted vSAN: mutation, test, and what it says (``table.Killed``)."""

from __future__ import annotations

from typing import Final

_E2E: Final = "tests/e2e/test_vsan.py"

VSAN: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "vsan_kek_not_persisted",
        f"{_E2E}::test_persistence_covers_it_from_7_0_u3[7.0U3-True]",
        "absent",
    ),
    (
        "vsan_host_waits_for_vcenter",
        f"{_E2E}::test_encryption_begins_with_keys_that_hosts_have_got_themselves",
        "vCenter has not brought it",
    ),
    (
        "vsan_wrong_kek_opens",
        "tests/services/esxi/test_vsan_label.py::test_only_its_own_kek_opens_a_disk",
        "DID NOT RAISE",
    ),
    (
        "vsan_rekey_leaves_a_disk",
        f"{_E2E}::test_shallow_and_deep_rekey_and_another_provider_keep_the_data",
        "AssertionError",
    ),
)
