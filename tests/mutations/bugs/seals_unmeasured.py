"""CFG-01 broken: a boot that the TPM could not measure seals the configuration all the same."""

from __future__ import annotations

from services.esxi.host import Host
from tests.mutations.bugs.planting import plant

plant(Host, "measured", lambda original: True)
