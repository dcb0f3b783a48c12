"""Wrapped keys of a standard provider (KEY-07 to KEY-09), which came with 9.0.

vCenter makes such a key itself. It gets the provider's wrapping key from a key server and wraps the
new key, whose id is the result (``protocol.wrapped_keys``). A fetch gets each wrapping key once,
however many keys are under it. Only Create, Activate, Get and Get Attributes are asked of a key
server, which every one has that vCenter can use
([decision 113](docs/decisions/0113-a-wrapped-key-is-its-id.md)).

A key is recognized by its id, so keys that were made under another specification, or by another
vCenter, work as long as the key server has their wrapping key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from protocol.crypto.wrap import NONCE_SIZE
from protocol.errors import (
    CryptographicFailure,
    InvalidState,
    KeyProviderUnreachable,
    WrappingKeyMissing,
    WrappingKeyNotActive,
)
from protocol.messages.vcenter.providers import KeySpec, WrappingKeyInfo
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KeyType, KeyUnavailableReason, NodeName, ProviderId
from protocol.wrapped_keys import KEY_SIZE, key_at_server, parse_wrapped, unwrap_key, wrap_key
from services.runtime.ports import Ports
from services.vcenter.inventory import Edit, Inventory
from services.vcenter.key_server_status import DAY_S
from services.vcenter.providers.provider import CreatedKey, FetchedKeys, KeyUse
from services.vcenter.providers.standard import StandardProvider
from services.vcenter.tables import DatabaseTable, ProviderRow, WrappingConfig

_OF_WRAPPING_KEY: Final = {
    KeyUnavailableReason.MISSING_IN_KMS: KeyUnavailableReason.WRAPPING_KEY_MISSING_IN_KMS,
    KeyUnavailableReason.NOT_ACTIVE_OR_ENABLED: (
        KeyUnavailableReason.WRAPPING_KEY_NOT_ACTIVE_OR_ENABLED
    ),
}


@dataclass(frozen=True)
class WrappingPlace:
    """Where the wrapping keys of a provider are recorded: in its row in this vCenter's inventory.

    ``default_days``: the rotation interval where the specification has none.
    """

    provider: ProviderId
    vcenter: NodeName
    inventory: Inventory
    default_days: int

    @property
    def config(self) -> WrappingConfig | None:
        """The present specification with its wrapping keys; None when the provider makes raw keys
        only."""
        row = self.inventory.providers.get(self.provider)
        if row is None or not isinstance(row.keys, WrappingConfig):
            return None
        return row.keys if can_wrap(row.keys.spec) else None

    @property
    def wraps(self) -> bool:
        """Whether new keys are wrapped by default."""
        config = self.config
        return config is not None and config.spec.key_type is KeyType.WRAPPED

    def is_due(self, config: WrappingConfig, now: float) -> bool:
        """Whether vCenter has to create a wrapping key: the first one, or the next (KEY-08)."""
        if config.spec.wrapping_key:
            return False
        current = config.current
        if current is None or current.since is None:
            return True
        days = config.spec.rotation_days or self.default_days
        return now >= current.since + days * DAY_S

    async def note_created(self, config: WrappingConfig, key_id: KeyId, now: float) -> None:
        """Record a wrapping key that was created for ``config``, durably. No change when the
        provider was deleted or got another specification meanwhile."""

        def change(row: ProviderRow | None) -> ProviderRow | None:
            if row is None or row.keys != config:
                return row
            known = (
                *end_current(config, now),
                WrappingKeyInfo(key_id=key_id, by_id=False, since=now),
            )
            made = msgspec.structs.replace(config, known=known, made=config.made + 1)
            return msgspec.structs.replace(row, keys=made)

        await self.inventory.commit(Edit(DatabaseTable.PROVIDER, self.provider, change))


def can_wrap(spec: KeySpec) -> bool:
    """Whether it says which wrapping key there is: raw keys may be the default beside one."""
    wrapped = spec.key_type is KeyType.WRAPPED
    return wrapped or bool(spec.wrapping_key) or spec.rotation_days is not None


def end_current(config: WrappingConfig, now: float) -> tuple[WrappingKeyInfo, ...]:
    """The wrapping keys of ``config``, none of them in force any more."""
    return tuple(
        one if one.until is not None else msgspec.structs.replace(one, until=now)
        for one in config.known
    )


def apply_spec(
    before: WrappingConfig | msgspec.UnsetType, spec: KeySpec, revision: str, now: float
) -> WrappingConfig:
    """The part of a provider's row for ``spec``. A wrapping key in force stays so if the new
    specification means it: the same id, or any interval."""
    if not isinstance(before, WrappingConfig):
        before = WrappingConfig(spec=KeySpec(), revision=revision)
    if before.spec == spec:
        return before
    current = before.current
    means_it = (
        can_wrap(spec)
        and current is not None
        and (current.key_id == spec.wrapping_key if spec.wrapping_key else not current.by_id)
    )
    if means_it:
        return msgspec.structs.replace(before, spec=spec)
    known = end_current(before, now)
    if spec.wrapping_key:
        known += (WrappingKeyInfo(key_id=spec.wrapping_key, by_id=True, since=now),)
    return WrappingConfig(spec=spec, revision=revision, known=known)


class WrappingProvider:
    """See ``KeyProvider``: a standard provider whose keys may be wrapped."""

    def __init__(self, servers: StandardProvider, place: WrappingPlace, ports: Ports) -> None:
        self._servers, self._place = servers, place
        self._rng, self._clock = ports.rng, ports.clock
        self._creating = asyncio.Lock()

    def retire(self) -> None:
        self._servers.retire()

    async def health(self) -> Mapping[str, tuple[str, ...]]:
        return await self._servers.health()

    async def create_key(self, operation_id: str, use: KeyUse | None = None) -> CreatedKey:
        if not self._place.wraps:
            return await self._servers.create_key(operation_id, use)
        return await self._create_wrapped()

    async def generate_key(self, operation_id: str, key_type: KeyType | None = None) -> KeyId:
        wanted = key_type or (KeyType.WRAPPED if self._place.wraps else KeyType.RAW)
        if wanted is KeyType.RAW:
            return await self._servers.generate_key(operation_id)
        return (await self._create_wrapped()).key_id

    async def make_key(self, operation_id: str) -> KeyId:
        """Always a raw key: hosts with an encrypted vSAN ask key servers for it by its id
        (VSAN-03)."""
        return await self._servers.make_key(operation_id)

    async def grant_key(self, key_id: KeyId, scope: str) -> None:
        """The wrapping key of a wrapped one is granted: all that is under it can be opened then."""
        await self._servers.grant_key(key_at_server(key_id), scope)

    async def fetch_keys(self, key_ids: Sequence[KeyId]) -> FetchedKeys:
        found = await self._servers.fetch_keys(_at_server(key_ids))
        material: dict[KeyId, KeyMaterial] = {}
        missing: dict[KeyId, KeyUnavailableReason] = {}
        for key_id in key_ids:
            at_server = key_at_server(key_id)
            value = found.material.get(at_server)
            if value is None:
                reason = found.missing.get(at_server, KeyUnavailableReason.MISSING_IN_KMS)
                missing[key_id] = _reason(key_id, reason)
                continue
            opened = self._open(key_id, value)
            if opened is None:
                missing[key_id] = KeyUnavailableReason.WRAPPING_KEY_MISSING_IN_KMS
            else:
                material[key_id] = opened
        return FetchedKeys(material, missing)

    async def status(self, key_ids: Sequence[KeyId]) -> Mapping[KeyId, KeyUnavailableReason | None]:
        found = await self._servers.status(_at_server(key_ids))
        answers: dict[KeyId, KeyUnavailableReason | None] = {}
        for key_id in key_ids:
            reason = found[key_at_server(key_id)]
            answers[key_id] = None if reason is None else _reason(key_id, reason)
        return answers

    async def rotate(self) -> None:
        """Replace a wrapping key whose interval is over (KEY-08). Raises as ``create_key``."""
        async with self._creating:
            config, now = self._place.config, self._clock.now()
            if config is not None and config.current and self._place.is_due(config, now):
                await self._create_wrapping_key(config, now)

    # ---- wrapping keys ----------------------------------------------------------------------

    def _open(self, key_id: KeyId, value: KeyMaterial) -> KeyMaterial | None:
        """The key of that id; None when the key at the server is not the one that wrapped it."""
        wrapped = parse_wrapped(key_id)
        if wrapped is None:
            return value
        try:
            return unwrap_key(wrapped, value, self._place.provider)
        except CryptographicFailure:
            return None

    async def _create_wrapped(self) -> CreatedKey:
        wrapping = await self._wrapping_key()
        secret = KeyMaterial(self._rng.token(KEY_SIZE))
        nonce = self._rng.token(NONCE_SIZE)
        key_id = wrap_key(wrapping.key_id, wrapping.material, self._place.provider, secret, nonce)
        return CreatedKey(key_id, secret)

    async def _wrapping_key(self) -> CreatedKey:
        """The wrapping key for a new key. ``WrappingKeyMissing`` and ``WrappingKeyNotActive`` when
        its server does not give it, else as ``create_key``."""
        async with self._creating:
            config, now = self._config(), self._clock.now()
            if config.current is None or self._place.is_due(config, now):
                return await self._create_wrapping_key(config, now)
        key_id = config.current.key_id
        fetched = await self._servers.fetch_keys((key_id,))
        if key_id in fetched.material:
            return CreatedKey(key_id, fetched.material[key_id])
        text = f"the wrapping key {key_id} of key provider {self._place.provider}"
        match fetched.missing[key_id]:
            case KeyUnavailableReason.NOT_ACTIVE_OR_ENABLED:
                raise WrappingKeyNotActive(f"{text} is not active at its key server")
            case KeyUnavailableReason.CLUSTER_UNREACHABLE:
                raise KeyProviderUnreachable(f"{text} cannot be had: no key server answers")
            case _:
                raise WrappingKeyMissing(f"the key server does not give {text}")

    async def _create_wrapping_key(self, config: WrappingConfig, now: float) -> CreatedKey:
        """The next wrapping key of ``config``; the caller holds the lock."""
        place = self._place
        operation = f"{place.vcenter}/wrapping/{place.provider}/{config.revision}"
        made = await self._servers.create_key(f"{operation}/{config.made + 1}")
        await place.note_created(config, made.key_id, now)
        return made

    def _config(self) -> WrappingConfig:
        config = self._place.config
        if config is None:
            raise InvalidState(f"key provider {self._place.provider} has no wrapping key")
        return config


def _at_server(key_ids: Sequence[KeyId]) -> tuple[KeyId, ...]:
    """The ids to ask key servers for, each once."""
    return tuple(dict.fromkeys(key_at_server(key_id) for key_id in key_ids))


def _reason(key_id: KeyId, reason: KeyUnavailableReason) -> KeyUnavailableReason:
    """The reason for a key whose id at the server has this reason."""
    return reason if parse_wrapped(key_id) is None else _OF_WRAPPING_KEY.get(reason, reason)
