"""REK-02 broken: a deep recrypt gives disks other DEKs while a snapshot needs those of before."""

from __future__ import annotations

from services.esxi.vms import recrypt
from tests.mutations.bugs.planting import plant

plant(recrypt, "check_none", lambda original: lambda config, what: None)
