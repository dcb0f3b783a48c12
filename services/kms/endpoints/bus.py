"""Requests on the data bus: keys, their attributes, registered keys, and ciphers.

The caller is the identity that the broker proved; keys are sealed to it. A request for more than
one message of the data bus holds is ``ResponseTooLarge`` before anything happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar, cast

import msgspec

from protocol.attributes import Attribute
from protocol.errors import InvalidField, ItemNotFound, PermissionDenied, ResponseTooLarge
from protocol.messages.base import Sealed
from protocol.messages.fingerprints import FingerprintKeys, KeyFingerprint, KeyFingerprints
from protocol.messages.kms import keys as key_messages
from protocol.messages.kms import replication as replication_messages
from protocol.pages import first_page, fits
from protocol.secret import KeyMaterial
from protocol.terms import KeyId
from services.kms.access.authorization import KeyServerCaller, caller_at
from services.kms.endpoints.forwarding import at_the_active
from services.kms.objects import request_checks, request_types
from services.kms.objects.key_row import StoredKeyRow
from services.kms.objects.request_types import CoreOperation
from services.kms.operations.core import KeyServerCore
from services.kms.replication import checksums
from services.kms.settings.config import KmsConfig
from services.runtime.service import Peer, Service, serves

DATA_LIMIT: Final = 64 * 1024
"""Bytes of data in one message, and of its additional authenticated data."""


class AttributeEndpoint(Service):
    """Handlers for attributes and ciphers. A subclass sets both fields."""

    config: KmsConfig
    core: KeyServerCore

    def _caller(self, peer: Peer) -> KeyServerCaller:
        return caller_at(self.config, peer.node, local=peer.local)

    @serves(key_messages.RegisterKey)
    @at_the_active
    async def register_key(
        self, message: key_messages.RegisterKey, peer: Peer
    ) -> key_messages.KeyCreated:
        """Register."""
        check_operation_id(message.operation_id)
        request = request_types.Register(
            operation_id=message.operation_id,
            material=_one(message.material, "material"),
            algorithm=message.algorithm,
            length=message.length,
            usage_mask=message.usage_mask,
            attributes=message.attributes,
        )
        made = await self.core.execute(self._caller(peer), request)
        return key_messages.KeyCreated(key_id=made.unique_identifier, state=made.state)

    @serves(key_messages.GetKeyAttributes)
    async def get_key_attributes(
        self, message: key_messages.GetKeyAttributes, peer: Peer
    ) -> key_messages.KeyAttributeValues:
        """Get Attributes of one key, by their names."""
        request = request_types.GetObjectAttributes(
            unique_identifiers=(message.key_id,), names=message.names
        )
        found = (await self.core.execute(self._caller(peer), request)).objects
        if not found:
            raise ItemNotFound
        return key_messages.KeyAttributeValues(
            key_id=message.key_id, attributes=found[0].attributes
        )

    @serves(key_messages.GetAttributeList)
    async def get_attribute_list(
        self, message: key_messages.GetAttributeList, peer: Peer
    ) -> key_messages.AttributeNames:
        """Get Attribute List."""
        request = request_types.ListObjectAttributes(unique_identifier=message.key_id)
        found = await self.core.execute(self._caller(peer), request)
        return key_messages.AttributeNames(key_id=message.key_id, names=found.names)

    @serves(key_messages.AddAttribute)
    @at_the_active
    async def add_attribute(
        self, message: key_messages.AddAttribute, peer: Peer
    ) -> key_messages.AttributeChanged:
        """Add Attribute."""
        request = request_types.AddObjectAttribute(
            unique_identifier=message.key_id,
            attribute=Attribute(name=message.name, value=message.value),
            repeat=True,
        )
        done = await self.core.execute(self._caller(peer), request)
        return key_messages.AttributeChanged(key_id=message.key_id, attribute=done.attribute)

    @serves(key_messages.ModifyAttribute)
    @at_the_active
    async def modify_attribute(
        self, message: key_messages.ModifyAttribute, peer: Peer
    ) -> key_messages.AttributeChanged:
        """Modify Attribute."""
        request = request_types.ModifyObjectAttribute(
            unique_identifier=message.key_id, attribute=message.attribute
        )
        done = await self.core.execute(self._caller(peer), request)
        return key_messages.AttributeChanged(key_id=message.key_id, attribute=done.attribute)

    @serves(key_messages.DeleteAttribute)
    @at_the_active
    async def delete_attribute(
        self, message: key_messages.DeleteAttribute, peer: Peer
    ) -> key_messages.AttributeDeleted:
        """Delete Attribute; no change when the attribute does not exist."""
        request = request_types.DeleteObjectAttribute(
            unique_identifier=message.key_id, name=message.name, index=message.index
        )
        try:
            done = await self.core.execute(self._caller(peer), request)
        except ItemNotFound:
            key = key_messages.GetAttributeList(key_id=message.key_id)
            await self.get_attribute_list(key, peer)  # raises if the key itself does not exist
            return key_messages.AttributeDeleted(key_id=message.key_id)
        return key_messages.AttributeDeleted(key_id=message.key_id, attribute=done.attribute)

    @serves(key_messages.Encrypt)
    async def encrypt(self, message: key_messages.Encrypt, peer: Peer) -> key_messages.Encrypted:
        """Encrypt."""
        data = _one(message.data, "data")
        _check_size(len(data) + len(message.additional_data))
        request = request_types.EncryptData(
            unique_identifier=message.key_id,
            parameters=message.parameters,
            data=data,
            iv=message.iv,
            additional_data=message.additional_data,
        )
        done = await self.core.execute(self._caller(peer), request)
        return key_messages.Encrypted(data=done.data, tag=done.tag, iv=done.iv)

    @serves(key_messages.Decrypt)
    async def decrypt(self, message: key_messages.Decrypt, peer: Peer) -> key_messages.Decrypted:
        """Decrypt."""
        _check_size(len(message.data) + len(message.additional_data))
        request = request_types.DecryptData(
            unique_identifier=message.key_id,
            parameters=message.parameters,
            data=message.data,
            iv=message.iv,
            additional_data=message.additional_data,
            tag=message.tag,
        )
        done = await self.core.execute(self._caller(peer), request)
        return key_messages.Decrypted(data=Sealed.of(done.data))


def check_operation_id(operation_id: str) -> None:
    """On the bus every request that makes something can be recognised when it is repeated."""
    if not operation_id:
        raise InvalidField("operation_id: 1 to 128 characters")


def _one(field: Sealed, name: str) -> KeyMaterial:
    if len(field.keys) != 1:
        raise InvalidField(f"{name}: one piece, not {len(field.keys)}")
    return field.keys[0]


def _check_size(size: int) -> None:
    if size > DATA_LIMIT:
        raise InvalidField(f"data of {size} bytes; {DATA_LIMIT} at most in one message")


T = TypeVar("T")

PAGE: Final = 500
"""Keys of one answer about every key. Three such answers fit into one message, and none delays
others for long."""


class BusEndpoint(AttributeEndpoint):
    """Handlers of every message to a key server. A subclass sets both fields."""

    @serves(key_messages.DiscoverVersions)
    async def discover_versions(
        self, message: key_messages.DiscoverVersions, peer: Peer
    ) -> key_messages.ServerVersions:
        """Discover Versions: the health probe of vCenter (STD-09)."""
        found = await self.core.execute(self._caller(peer), request_types.DiscoverServerVersions())
        return key_messages.ServerVersions(versions=found.versions)

    @serves(key_messages.CreateKey)
    @at_the_active
    async def create_key(
        self, message: key_messages.CreateKey, peer: Peer
    ) -> key_messages.KeyCreated:
        """One batch: Create, and Activate and Get if requested. vCenter makes AES-256 keys."""
        given = (message.algorithm, message.length, message.usage_mask)
        if given != ("AES", 256, 12):
            text = f"only AES-256 keys to encrypt and decrypt are made here, not {given}"
            raise InvalidField(text)
        check_operation_id(message.operation_id)
        batch: list[request_types.CoreRequest[Any]] = [
            request_types.Create(
                operation_id=message.operation_id,
                algorithm=message.algorithm,
                length=message.length,
                usage_mask=message.usage_mask,
            )
        ]
        batch += [request_types.ActivateObject(repeat=True)] if message.activate else []
        batch += [request_types.Get()] if message.get else []
        responses = await self.core.batch(self._caller(peer), batch)
        created, material = cast(request_types.Created, responses[0]), None
        state = created.state
        if message.activate:
            state = cast(request_types.StateChanged, responses[1]).state
        if message.get:
            [got] = cast(request_types.Got, responses[-1]).keys
            material = None if got.material is None else Sealed.of(got.material)
        return key_messages.KeyCreated(
            key_id=created.unique_identifier, state=state, material=material
        )

    @serves(key_messages.GetKeys)
    async def get_keys(self, message: key_messages.GetKeys, peer: Peer) -> key_messages.KeyValues:
        """Get of many keys; missing or destroyed ones have no material."""
        _check_answer(message.key_ids, key_messages.KEY_VALUE_BYTES, peer)
        request = request_types.Get(unique_identifiers=message.key_ids)
        got = await self.core.execute(self._caller(peer), request)
        values: list[key_messages.KeyValue] = []
        keys: list[KeyMaterial] = []
        for key in got.keys:
            index = None if key.material is None else len(keys)
            keys += [] if key.material is None else [key.material]
            values.append(
                key_messages.KeyValue(key_id=key.unique_identifier, state=key.state, index=index)
            )
        return key_messages.KeyValues(values=tuple(values), material=Sealed.of(*keys))

    @serves(key_messages.GetAttributes)
    async def get_attributes(
        self, message: key_messages.GetAttributes, peer: Peer
    ) -> key_messages.AttributeList:
        """Get Attributes of many keys; missing ones are left out."""
        _check_answer(message.key_ids, key_messages.KEY_ATTRIBUTES_BYTES, peer)
        request = request_types.GetObjectAttributes(unique_identifiers=message.key_ids)
        found = await self.core.execute(self._caller(peer), request)
        return key_messages.AttributeList(keys=tuple(_attributes(one) for one in found.objects))

    @serves(key_messages.Activate)
    @at_the_active
    async def activate(self, message: key_messages.Activate, peer: Peer) -> key_messages.KeyState:
        """Activate."""
        request = request_types.ActivateObject(unique_identifier=message.key_id, repeat=True)
        return await self._move(request, peer)

    @serves(key_messages.Revoke)
    @at_the_active
    async def revoke(self, message: key_messages.Revoke, peer: Peer) -> key_messages.KeyState:
        """Revoke."""
        request = request_types.RevokeObject(
            unique_identifier=message.key_id, reason=message.reason, repeat=True
        )
        return await self._move(request, peer)

    @serves(key_messages.Destroy)
    @at_the_active
    async def destroy(self, message: key_messages.Destroy, peer: Peer) -> key_messages.KeyState:
        """Destroy."""
        request = request_types.DestroyObject(unique_identifier=message.key_id, repeat=True)
        return await self._move(request, peer)

    @serves(key_messages.Locate)
    async def locate(self, message: key_messages.Locate, peer: Peer) -> key_messages.Located:
        """Locate; as many keys as one answer holds."""
        request_checks.check_limit(message.limit)
        wanted = message.attributes
        if message.state is not None:
            wanted += (Attribute(name="State", value=message.state.value),)
        request = request_types.LocateObjects(
            attributes=wanted, after=message.after, maximum_items=message.limit
        )
        found = await self.core.execute(self._caller(peer), request)
        return key_messages.Located(
            key_ids=_fitting(found.unique_identifiers, peer), total=found.total
        )

    @serves(key_messages.QueryAudit)
    async def query_audit(
        self, message: key_messages.QueryAudit, peer: Peer
    ) -> key_messages.AuditRows:
        """Rows of the trail; as many as one answer holds."""
        request = request_types.QueryAuditTrail(after=message.after, maximum_items=message.limit)
        found = await self.core.execute(self._caller(peer), request)
        rows = [key_messages.AuditRow(**msgspec.structs.asdict(record)) for record in found.records]
        return key_messages.AuditRows(rows=_fitting(rows, peer))

    @serves(FingerprintKeys)
    async def fingerprint_keys(self, message: FingerprintKeys, peer: Peer) -> KeyFingerprints:
        """Fingerprints of keys for the server's own console: whether keys are equal, not what they
        are."""
        if not peer.local:
            raise PermissionDenied(f"{peer.node} is not at the console of {self.node.name}")
        secret, after = message.secret, message.after
        found = await self.core.look(
            lambda connection, vault: checksums.fingerprints(
                connection, vault, secret, after, PAGE + 1
            )
        )
        page = first_page([_fingerprint(row, digits) for row, digits in found], at_most=PAGE)
        return KeyFingerprints(
            keys=tuple(key for key in page if key.fingerprint),
            last=page[-1].key_id if len(page) < len(found) else KeyId(""),
        )

    @serves(replication_messages.QueryDigests)
    async def query_digests(
        self, message: replication_messages.QueryDigests, peer: Peer
    ) -> replication_messages.KeyDigests:
        """Digests for comparing servers that replicate."""
        await self.core.admit(self._caller(peer), CoreOperation.QUERY_AUDIT)
        found = await self.core.look(
            lambda connection, vault: checksums.digests(connection, vault, message.after, PAGE + 1)
        )
        digests = [
            replication_messages.KeyDigest(key_id=key_id, digest=digest) for key_id, digest in found
        ]
        page = first_page(digests, at_most=PAGE)
        return replication_messages.KeyDigests(keys=page, more=len(page) < len(found))

    async def _move(
        self, request: request_types.ObjectRequest[request_types.StateChanged], peer: Peer
    ) -> key_messages.KeyState:
        """Change a state. Such changes are rare and explain later events: each gets a line in the
        log."""
        caller = self._caller(peer)
        changed = await self.core.execute(caller, request)
        key_id, state = changed.unique_identifier, changed.state
        self.node.record("kms.key_state", key_id=key_id, state=state.value, who=caller.who)
        return key_messages.KeyState(key_id=key_id, state=state)


def _fitting(items: Sequence[T], peer: Peer) -> tuple[T, ...]:
    """As many of ``items`` as one answer to ``peer`` holds; it asks for the rest with a cursor."""
    return tuple(items) if peer.local else first_page(items)


def _check_answer(key_ids: tuple[KeyId, ...], each: int, peer: Peer) -> None:
    """``ResponseTooLarge`` when the answer, ``each`` bytes a key beyond its id, would not fit."""
    if not peer.local and not fits(key_ids, extra=each):
        raise ResponseTooLarge(f"the answer about {len(key_ids)} keys does not fit; ask in pages")


def _fingerprint(row: StoredKeyRow, digits: str) -> KeyFingerprint:
    return KeyFingerprint(
        key_id=row.key_id,
        place="server",
        fingerprint=digits,
        operation=row.operation_id,
        origin=row.origin,
        scope=row.scope,
    )


def _attributes(found: request_types.ObjectAttributes) -> key_messages.KeyAttributes:
    return key_messages.KeyAttributes(
        key_id=found.unique_identifier,
        state=found.state,
        algorithm=found.algorithm,
        length=found.length,
        usage_mask=found.usage_mask,
        initial_date=found.initial_date,
        activation_date=found.activation_date,
        deactivation_date=found.deactivation_date,
        compromise_date=found.compromise_date,
        destroy_date=found.destroy_date,
        last_change_date=found.last_change_date,
    )
