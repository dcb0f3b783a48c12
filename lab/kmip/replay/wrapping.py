"""Wrapped keys of vCenter 9.0, in the phase *flow* (KEY-07 to KEY-09).

vCenter has a wrapping key made at the server and wraps keys of VMs itself: the server gets no
request for a VM's key. It keeps no value of the wrapping key (STD-15), so each task fetches it, and
each boot of a host fetches every wrapping key once. After a rotation the earlier key has to stay.

No session of 9.0 was recorded: which messages there are follows from
[decision 113](docs/decisions/0113-a-wrapped-key-is-its-id.md).
"""

from __future__ import annotations

import secrets
from typing import Final

from lab.kmip.replay import kinds
from lab.kmip.replay.flow import Flow
from lab.kmip.replay.journal import MadeKey, ReplayJournal
from lab.kmip.replay.servers import ReplayedServer
from protocol.crypto.wrap import NONCE_SIZE
from protocol.errors import CryptographicFailure
from protocol.kmip.enums import State
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, ProviderId
from protocol.wrapped_keys import KEY_SIZE, parse_wrapped, unwrap_key, wrap_key

_PROVIDER: Final = ProviderId("replay")
_GET: Final = "Get"


class KeyWrapping:
    """A provider with wrapped keys at one server, from its first wrapping key to a boot of a host
    after a rotation."""

    def __init__(self, journal: ReplayJournal, flow: Flow) -> None:
        self._journal, self._flow = journal, flow
        self._wrapped: dict[str, list[KeyId]] = {}  # ids of wrapped keys by wrapping key

    async def play(self, server: ReplayedServer, keys: int) -> None:
        """Wrap the keys of that many VMs, rotate, wrap one more, and unwrap all of them."""
        first = await self._flow.make_wrapping_key(server)
        if first is None:
            return
        for _ in range(keys):
            await self._encrypt(server, first)
        second = await self._flow.make_wrapping_key(server)
        if second is not None:
            await self._encrypt(server, second)
        for wrapping in (first, second):
            if wrapping is not None:
                await self._boot(server, wrapping)

    async def _encrypt(self, server: ReplayedServer, wrapping: MadeKey) -> None:
        """A VM is encrypted: its key is made and wrapped here."""
        material = await self._fetch(server, wrapping)
        if material is None:
            return
        secret = KeyMaterial(secrets.token_bytes(KEY_SIZE))
        nonce = secrets.token_bytes(NONCE_SIZE)
        made = wrap_key(KeyId(wrapping.uid), material, _PROVIDER, secret, nonce)
        self._wrapped.setdefault(wrapping.uid, []).append(made)

    async def _boot(self, server: ReplayedServer, wrapping: MadeKey) -> None:
        """A host that has lost its cache needs all keys under ``wrapping``, for one Get."""
        ids = self._wrapped.get(wrapping.uid, [])
        material = await self._fetch(server, wrapping) if ids else None
        if material is None:
            return
        closed = [key_id for key_id in ids if not _opens(key_id, material)]
        if closed:
            seen = f"{len(closed)} of {len(ids)} keys under {wrapping.uid} do not open"
            self._journal.find(kinds.WRAPPING_KEY_CHANGED, server.name, _GET, seen)

    async def _fetch(self, server: ReplayedServer, wrapping: MadeKey) -> KeyMaterial | None:
        """The value of a wrapping key, if it is there and Active."""
        fetch = server.vcenter.use(wrapping.uid)
        used = await self._flow.attempt(kinds.WRAPPING_KEY_LOST, server, fetch)
        wrapping.lost = used is None
        if used is None:
            return None
        if used.state is not State.ACTIVE:
            kind = kinds.WRAPPING_KEY_NOT_ACTIVE
            self._flow.find_state(kind, server, wrapping, used.state)
            return None
        return used.material


def _opens(key_id: KeyId, material: KeyMaterial) -> bool:
    wrapped = parse_wrapped(key_id)
    if wrapped is None:
        return False
    try:
        unwrap_key(wrapped, material, _PROVIDER)
    except CryptographicFailure:
        return False
    return True
