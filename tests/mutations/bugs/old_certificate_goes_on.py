"""STD-04 broken: vCenter says that it shows another certificate, and shows the earlier one."""

from __future__ import annotations

from typing import Any

import msgspec

from services.vcenter.providers.client_certificates import ClientCertificates
from tests.mutations.bugs.planting import plant


def _earlier(original: Any) -> Any:
    def identity(self: Any, row: Any) -> Any:
        shown = self.__dict__.setdefault("planted", {})
        if row.name not in shown:
            shown[row.name] = row.client
        return original(self, msgspec.structs.replace(row, client=shown[row.name]))

    return identity


plant(ClientCertificates, "identity", _earlier)
