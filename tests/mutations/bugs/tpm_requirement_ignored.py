"""NKP-12 broken: a host without a TPM takes part in a provider that requires one."""

from __future__ import annotations

from services.esxi.providers import native
from tests.mutations.bugs.planting import plant

plant(native, "is_excluded", lambda _: lambda ref, *, tpm_present: False)
