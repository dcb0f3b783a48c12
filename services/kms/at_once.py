"""A Get that needs no wait: what it gives, without a transaction or a task beside it."""

from __future__ import annotations

from protocol.terms import KeyId
from services.kms.access import Caller
from services.kms.core import Core
from services.kms.operations import GotKey


def given(core: Core, caller: Caller, key_id: KeyId) -> GotKey | None:
    """What ``core.process`` would give for a Get of this key alone, in clear; None, and nothing
    happened, when it is to be processed."""
    readings = core.readings
    if readings is None or not core.caught_up.is_set() or core.rejections.judges(caller):
        return None
    return readings.at_once(caller, key_id)
