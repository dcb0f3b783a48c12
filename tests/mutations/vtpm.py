"""The planted bugs of virtual TPMs: mutation, test, and what it says (``table.Killed``)."""

from __future__ import annotations

from typing import Final

_VTPM: Final = "tests/services/esxi/test_vtpm.py"

VTPM: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "vtpm_saved_after_answer",
        f"{_VTPM}::test_no_answered_guest_command_is_lost[crash]",
        "counter",
    ),
    (
        "vtpm_bound_to_nothing",
        f"{_VTPM}::test_the_file_is_bound_to_vm_vtpm_and_number",
        "DID NOT RAISE",
    ),
    ("vtpm_instance_shared", f"{_VTPM}::test_vtpms_share_nothing", "its quote"),
)
