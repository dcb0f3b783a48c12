"""ATT-03 broken: a document that only reports lets a host have keys."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.crypto.tokens import AUDIENCE
from protocol.trust import TokenType
from services.keyprovider import access
from tests.mutations.bugs.planting import plant


def _as_authorizing(original: Any) -> Any:
    def _signed(token: bytes, accepted: Any) -> Any:
        claims = original(token, accepted)
        return msgspec.structs.replace(claims, aud=AUDIENCE, typ=TokenType.KMS_AUTH_JWT)

    return _signed


plant(access, "_verify_issuer", _as_authorizing)
