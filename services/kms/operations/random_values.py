"""What a request needs of chance, drawn before its transaction, which may be run twice."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.secret import KeyMaterial
from services.kms.objects.cipher_modes import LONGEST_IV
from services.kms.objects.cipher_requests import EncryptData
from services.kms.objects.identifiers import Ids
from services.kms.objects.request_types import CoreRequest
from services.kms.objects.usage_requests import ReKey
from services.kms.operations import rekey
from services.runtime.ports import Rng


def with_drawn(request: CoreRequest[Any], rng: Rng, ids: Ids, at: float) -> CoreRequest[Any]:
    """The request with the IV of an Encrypt that brings none, or id and bytes of a Re-key; ``at``
    in Unix seconds."""
    if isinstance(request, EncryptData) and request.iv is None:
        return msgspec.structs.replace(request, drawn=rng.token(LONGEST_IV))
    if isinstance(request, ReKey):
        new_id, drawn = ids.draw(rng.token(16), at), rng.token(rekey.DRAWN)
        return msgspec.structs.replace(request, new_id=new_id, drawn=KeyMaterial(drawn))
    return request
