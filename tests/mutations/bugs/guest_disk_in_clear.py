"""Encryption broken: guests write their blocks as they are."""

from __future__ import annotations

from protocol.crypto.disk import DiskCipher
from tests.mutations.bugs.planting import plant

plant(DiskCipher, "encrypt", lambda original: lambda self, index, plain: plain)
plant(DiskCipher, "decrypt", lambda original: lambda self, index, stored: stored)
