"""A clone broken: the disks of a VM that runs are read while its guest writes them."""

from __future__ import annotations

from services.esxi.vms import clone
from tests.mutations.bugs.planting import plant

plant(clone, "queue_of", lambda original: lambda vm: f"nobody/{vm}")
