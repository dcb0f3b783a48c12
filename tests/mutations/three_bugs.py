"""Three bugs in one lab: what each breaks is told apart by the outage that finds them."""

from __future__ import annotations

import tests.mutations.bugs.speaks_as_another
import tests.mutations.bugs.unseal_ignores_pcrs
import tests.mutations.bugs.vcenter_keeps_values  # noqa: F401
