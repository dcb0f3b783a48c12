"""Encryption broken: guests write their blocks as they are."""

from __future__ import annotations

from services.esxi.vms import guest
from tests.mutations.bugs.planting import plant

plant(guest, "_stored", lambda original: lambda dek, index, plain: plain)
plant(guest, "decrypt_block", lambda original: lambda dek, index, stored: stored)
