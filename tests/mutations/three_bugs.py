"""Three planted bugs at once, for a lab that takes a single patch."""

from __future__ import annotations

from tests.mutations import bugs

for bug in ("speaks_as_another", "unseal_ignores_pcrs", "vcenter_keeps_values"):
    getattr(bugs, bug)()
