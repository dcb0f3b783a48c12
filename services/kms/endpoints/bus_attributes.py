"""Requests on the data bus about attributes, registered keys, and ciphers."""

from __future__ import annotations

from typing import Final

from protocol.attributes import Attribute
from protocol.errors import InvalidField, ItemNotFound
from protocol.messages import kms as m
from protocol.messages.base import Sealed
from protocol.secret import KeyMaterial
from services.kms.access.authorization import KeyServerCaller, caller_at
from services.kms.endpoints.forwarding import at_the_active
from services.kms.objects import request_types
from services.kms.operations.core import KeyServerCore
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

    @serves(m.RegisterKey)
    @at_the_active
    async def register_key(self, message: m.RegisterKey, peer: Peer) -> m.KeyCreated:
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
        return m.KeyCreated(key_id=made.unique_identifier, state=made.state)

    @serves(m.GetKeyAttributes)
    async def get_key_attributes(
        self, message: m.GetKeyAttributes, peer: Peer
    ) -> m.KeyAttributeValues:
        """Get Attributes of one key, by their names."""
        request = request_types.GetObjectAttributes(
            unique_identifiers=(message.key_id,), names=message.names
        )
        found = (await self.core.execute(self._caller(peer), request)).objects
        if not found:
            raise ItemNotFound
        return m.KeyAttributeValues(key_id=message.key_id, attributes=found[0].attributes)

    @serves(m.GetAttributeList)
    async def get_attribute_list(self, message: m.GetAttributeList, peer: Peer) -> m.AttributeNames:
        """Get Attribute List."""
        request = request_types.ListObjectAttributes(unique_identifier=message.key_id)
        found = await self.core.execute(self._caller(peer), request)
        return m.AttributeNames(key_id=message.key_id, names=found.names)

    @serves(m.AddAttribute)
    @at_the_active
    async def add_attribute(self, message: m.AddAttribute, peer: Peer) -> m.AttributeChanged:
        """Add Attribute."""
        request = request_types.AddObjectAttribute(
            unique_identifier=message.key_id,
            attribute=Attribute(name=message.name, value=message.value),
            repeat=True,
        )
        done = await self.core.execute(self._caller(peer), request)
        return m.AttributeChanged(key_id=message.key_id, attribute=done.attribute)

    @serves(m.ModifyAttribute)
    @at_the_active
    async def modify_attribute(self, message: m.ModifyAttribute, peer: Peer) -> m.AttributeChanged:
        """Modify Attribute."""
        request = request_types.ModifyObjectAttribute(
            unique_identifier=message.key_id, attribute=message.attribute
        )
        done = await self.core.execute(self._caller(peer), request)
        return m.AttributeChanged(key_id=message.key_id, attribute=done.attribute)

    @serves(m.DeleteAttribute)
    @at_the_active
    async def delete_attribute(self, message: m.DeleteAttribute, peer: Peer) -> m.AttributeDeleted:
        """Delete Attribute; no change when the attribute does not exist."""
        request = request_types.DeleteObjectAttribute(
            unique_identifier=message.key_id, name=message.name, index=message.index
        )
        try:
            done = await self.core.execute(self._caller(peer), request)
        except ItemNotFound:
            key = m.GetAttributeList(key_id=message.key_id)
            await self.get_attribute_list(key, peer)  # raises if the key itself does not exist
            return m.AttributeDeleted(key_id=message.key_id)
        return m.AttributeDeleted(key_id=message.key_id, attribute=done.attribute)

    @serves(m.Encrypt)
    async def encrypt(self, message: m.Encrypt, peer: Peer) -> m.Encrypted:
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
        return m.Encrypted(data=done.data, tag=done.tag, iv=done.iv)

    @serves(m.Decrypt)
    async def decrypt(self, message: m.Decrypt, peer: Peer) -> m.Decrypted:
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
        return m.Decrypted(data=Sealed.of(done.data))


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
