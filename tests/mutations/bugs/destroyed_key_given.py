"""KMIP broken: a key server says that a key is destroyed, and gives it when it is asked."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState
from services.kms import performing
from tests.mutations.bugs.planting import plant

_kept: dict[KeyId, KeyMaterial] = {}
_DEAD = (KmipState.DESTROYED, KmipState.DESTROYED_COMPROMISED)


def _given(original: Any) -> Any:
    def got(work: Any, key_id: Any, *wanted: Any, **how: Any) -> Any:
        given = original(work, key_id, *wanted, **how)
        if given.material is not None:
            _kept[key_id] = given.material
        if given.state in _DEAD and key_id in _kept:
            return msgspec.structs.replace(given, state=KmipState.ACTIVE, material=_kept[key_id])
        return given

    return got


plant(performing, "_got", _given)
