"""STD-03 broken: vCenter talks to a server whatever certificate that one shows."""

from __future__ import annotations

import dataclasses
from typing import Any

from services.vcenter.providers.client_certificates import ClientCertificates
from tests.mutations.bugs.planting import plant


def _credulous(original: Any) -> Any:
    def identity(self: Any, row: Any) -> Any:
        return dataclasses.replace(original(self, row), anyone=True)

    return identity


plant(ClientCertificates, "identity", _credulous)
