"""NKP-12 broken on both sides: that a provider requires a TPM is asked by nobody."""

from __future__ import annotations

from typing import Any

import msgspec

from services.esxi.host import Host
from services.esxi.providers import native as on_host
from services.vcenter.providers import native as at_vcenter
from services.vcenter.providers import registry
from tests.mutations.bugs.planting import plant


def _any_host(original: Any) -> Any:
    def takes_kdk(row: Any, summary: Any) -> Any:
        return original(row, msgspec.structs.replace(summary, tpm_present=True))

    return takes_kdk


plant(on_host, "is_excluded", lambda original: lambda ref, *, tpm_present: False)
plant(Host, "is_excluded", lambda original: lambda self, provider: False)
plant(at_vcenter, "takes_kdk", _any_host)
plant(registry, "takes_kdk", _any_host)
