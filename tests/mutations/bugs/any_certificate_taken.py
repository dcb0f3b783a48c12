"""STD-07 broken: a certificate is taken after its end."""

from __future__ import annotations

from typing import Any, Final

from services.runtime.tls import endpoint
from tests.mutations.bugs.planting import plant

HAS_EXPIRED: Final = 10
"""X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL."""


def _lenient(original: Any) -> Any:
    def judged(connection: Any, certificate: Any, code: int, depth: int, good: int) -> bool:
        return code == HAS_EXPIRED or bool(original(connection, certificate, code, depth, good))

    return judged


plant(endpoint, "_judged", _lenient)
