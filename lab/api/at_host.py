"""What a host's own administrator does there with its keys: no session, and vCenter not told."""

from __future__ import annotations

from lab.api import commands
from lab.api.answers import RemovedKey, RemovedKeyList
from lab.api.crypto import key_id
from lab.api.session import Session
from lab.api.views import key_ref
from protocol.messages.host import GetCryptoKeyStatus, RemoveKeys


async def remove_keys(session: Session, command: commands.HostRemoveKeys) -> RemovedKeyList:
    """See ``HostRemoveKeys``."""
    lab, host = session.lab, session.host(command.host)
    keys = tuple(key_id(key) for key in command.keys)
    results = (await lab.ask(host, RemoveKeys(keys=keys))).results
    left = (await lab.ask(host, GetCryptoKeyStatus(keys=keys))).keys
    return RemovedKeyList(
        host=host,
        items=tuple(
            RemovedKey(
                key=key_ref(result.key),
                removed=result.success,
                reason=result.reason,
                stored=status.stored,
            )
            for result, status in zip(results, left, strict=True)
        ),
    )
