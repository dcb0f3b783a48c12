"""NKP-12 broken on both sides: that a provider requires a TPM is asked by nobody."""

from __future__ import annotations

from typing import Any

from services.esxi.host import Host
from services.esxi.providers import native as on_host
from services.vcenter.providers import native as at_vcenter
from services.vcenter.providers import registry
from tests.mutations.bugs.planting import plant


def _any_host(original: Any) -> Any:
    return lambda row, *, tpm_present: original(row, tpm_present=True)


plant(on_host, "is_excluded", lambda original: lambda ref, *, tpm_present: False)
plant(Host, "is_excluded", lambda original: lambda self, provider: False)
plant(at_vcenter, "takes_kdk", _any_host)
plant(registry, "takes_kdk", _any_host)
