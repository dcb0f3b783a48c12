"""What is shown is what was written last, broken: vCenter does not compare its rows with their
seal, and shows what is left where a device has lost a page."""

from __future__ import annotations

from services.vcenter import inventory
from tests.mutations.bugs.planting import plant

plant(inventory, "_sealed", lambda sealed: lambda connection: None)
