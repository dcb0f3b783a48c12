"""Requests that need neither a wait nor a task: a Get of a cached key, and a plain Create."""

from __future__ import annotations

from protocol.terms import KeyId
from services.kms.access import authorization
from services.kms.access.authorization import KeyServerCaller
from services.kms.commit.new_keys import NewKeyOrder, Over
from services.kms.objects.request_types import CoreOperation, Create, GotKey
from services.kms.operations.core import KeyServerCore


def get_at_once(core: KeyServerCore, caller: KeyServerCaller, key_id: KeyId) -> GotKey | None:
    """What ``core.process`` would return for a Get of this key alone, in clear; None, and nothing
    happened, when it must be processed."""
    readings = core.readings
    if readings is None or not core.caught_up.is_set() or core.rejections.judges(caller):
        return None
    return readings.at_once(caller, key_id)


def making(core: KeyServerCore, caller: KeyServerCaller, request: Create, over: Over) -> bool:
    """Make the key of this request as ``core.process`` would, for a valid request without
    attributes. False, and nothing happened, when it must be processed."""
    if not core.alone or not core.caught_up.is_set() or core.rejections.judges(caller):
        return False
    if authorization.refuse(caller, CoreOperation.CREATE) is not None or not core.mint.unheard:
        return False
    core.commits.add(NewKeyOrder(caller, request, over))
    return True
