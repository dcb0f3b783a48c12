"""A client that was moved to another scope is there only when its key server starts again."""

from __future__ import annotations

from typing import Any

from services.kms.admission import IdentityAdmission
from services.kms.operations import CoreOperation
from tests.mutations.bugs.planting import plant


def _later(original: Any) -> Any:
    async def put(admission: Any, by: Any, operation: Any, identity: Any) -> Any:
        before = dict(admission._by_digest)
        done = await original(admission, by, operation, identity)
        if operation is CoreOperation.MOVE_IDENTITY:
            admission._by_digest = before
        return done

    return put


plant(IdentityAdmission, "_put", _later)
