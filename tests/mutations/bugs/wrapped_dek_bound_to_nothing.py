"""The host broken: a wrapped DEK is bound to neither its VM nor its use there."""

from __future__ import annotations

from services.esxi.vms import vmx
from tests.mutations.bugs.planting import plant

plant(vmx, "_aad", lambda original: lambda vm, use: b"")
