"""Three bugs in one lab: what each breaks is told apart by the outage that finds them."""

from __future__ import annotations

import lab.mutations.speaks_as_another
import lab.mutations.unseal_ignores_pcrs
import lab.mutations.vcenter_keeps_values  # noqa: F401
