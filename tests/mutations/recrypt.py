"""Which named test turns red for which planted bug of recrypting, disks and dumps."""

from __future__ import annotations

from typing import Final

_ESX: Final = "tests/services/esxi"

RECRYPT: Final = (
    (
        "dump_left_under_the_old_key",
        f"{_ESX}/test_dumps.py::test_another_host_key_takes_the_dumps_along",
        "AssertionError",
    ),
    (
        "recrypt_unwritten",
        f"{_ESX}/test_recrypt.py::test_a_running_vm_is_put_under_another_key_and_goes_on",
        "config(rig).keys == (NEW,)",
    ),
    (
        "disk_under_the_wrong_kek",
        f"{_ESX}/test_disks.py::test_a_disk_has_a_key_of_its_own",
        "CryptographicFailure",
    ),
)
