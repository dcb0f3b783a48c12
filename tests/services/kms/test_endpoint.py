"""The bus door's messages about attributes, keys that are brought, and data; repeats among them."""

from __future__ import annotations

import pytest

from protocol.attributes import Attribute, CryptographicParametersValue, ObjectName
from protocol.errors import IllegalOperation, InvalidField, ItemNotFound, PermissionDenied
from protocol.messages.base import Sealed
from protocol.messages.kms import keys as m
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState
from services.kms.endpoints.bus import DATA_LIMIT
from services.kms.settings.config import Grant, KmsConfig, KmsRole
from services.runtime.service import Peer
from tests.services.kms.ports import CONFIG, LOCAL, STRANGER, Server

APP = Peer(STRANGER.node, 1)
MATERIAL = KeyMaterial(bytes(range(32)))
NOBODY = KeyId("00000000-0000-4000-8000-000000000000")


@pytest.fixture
async def door(server: Server) -> Server:
    """A server where an application owns its keys."""
    owner = Grant(role=KmsRole.OWNER)
    server.config = KmsConfig(identities={**CONFIG.identities, APP.node: owner})
    await server.boot()
    return server


def register(operation_id: str = "1", **more: object) -> m.RegisterKey:
    return m.RegisterKey(operation_id=operation_id, material=Sealed.of(MATERIAL), **more)  # type: ignore[arg-type]


async def test_a_key_that_is_brought(door: Server) -> None:
    name = Attribute(name="Name", value=ObjectName(value="n"))
    made = await door.ask(register(attributes=(name,)), APP)
    assert made.state is KmipState.PRE_ACTIVE and made.material is None
    got = await door.ask(m.GetKeys(key_ids=(made.key_id,)), APP)
    assert got.material.keys == (MATERIAL,)
    assert await door.ask(register(attributes=(name,)), APP) == made
    with pytest.raises(InvalidField, match="another key"):
        other = m.RegisterKey(operation_id="1", material=Sealed.of(KeyMaterial(bytes(32))))
        await door.ask(other, APP)
    located = await door.ask(m.Locate(attributes=(name,)), APP)
    assert located.key_ids == (made.key_id,)


@pytest.mark.parametrize(
    "message",
    [
        register(operation_id=""),
        register(length=128),
        register(algorithm="ROT13"),
        register(usage_mask=-1),
        m.RegisterKey(operation_id="1", material=Sealed.of()),
        m.RegisterKey(operation_id="1", material=Sealed.of(MATERIAL, MATERIAL)),
    ],
    ids=str,
)
async def test_a_key_that_is_none(door: Server, message: m.RegisterKey) -> None:
    with pytest.raises(InvalidField):
        await door.ask(message, APP)
    assert (await door.ask(m.Locate(), LOCAL)).total == 0


async def test_attributes_come_and_go(door: Server) -> None:
    key_id = (await door.ask(register(), APP)).key_id
    add = m.AddAttribute(key_id=key_id, name="x-a", value="1")
    added = await door.ask(add, APP)
    assert added.attribute == Attribute(name="x-a", value="1")
    assert await door.ask(add, APP) == added  # a repeat
    changed = m.ModifyAttribute(key_id=key_id, attribute=Attribute(name="x-a", value="2"))
    assert await door.ask(changed, APP) == await door.ask(changed, APP)
    listed = await door.ask(m.GetAttributeList(key_id=key_id), APP)
    assert "x-a" in listed.names
    asked = m.GetKeyAttributes(key_id=key_id, names=("x-a", "x-b"))
    assert (await door.ask(asked, APP)).attributes == (Attribute(name="x-a", value="2"),)
    gone = m.DeleteAttribute(key_id=key_id, name="x-a")
    assert (await door.ask(gone, APP)).attribute == Attribute(name="x-a", value="2")
    assert (await door.ask(gone, APP)).attribute is None  # a repeat
    assert (await door.ask(asked, APP)).attributes == ()


async def test_another_value_is_no_repeat(door: Server) -> None:
    key_id = (await door.ask(register(), APP)).key_id
    first = m.AddAttribute(key_id=key_id, name="Contact Information", value="a")
    await door.ask(first, APP)
    with pytest.raises(IllegalOperation):
        await door.ask(m.AddAttribute(key_id=key_id, name=first.name, value="b"), APP)


@pytest.mark.parametrize(
    "message",
    [
        m.GetKeyAttributes(key_id=NOBODY),
        m.GetAttributeList(key_id=NOBODY),
        m.AddAttribute(key_id=NOBODY, name="x-a", value="1"),
        m.ModifyAttribute(key_id=NOBODY, attribute=Attribute(name="x-a", value="1")),
        m.DeleteAttribute(key_id=NOBODY, name="x-a"),
        m.Encrypt(key_id=NOBODY, data=Sealed.of(MATERIAL), iv=bytes(12)),
        m.Decrypt(key_id=NOBODY, data=b"1", iv=bytes(12), tag=bytes(16)),
    ],
    ids=lambda message: type(message).__name__,
)
async def test_no_such_key(door: Server, message: m.GetAttributeList) -> None:
    with pytest.raises(ItemNotFound):
        await door.ask(message, APP)


async def test_data_there_and_back(door: Server) -> None:
    key_id = (await door.ask(register(), APP)).key_id
    await door.ask(m.Activate(key_id=key_id), APP)
    clear = KeyMaterial(b"a secret of another")
    random = CryptographicParametersValue(random_iv=True)
    done = await door.ask(m.Encrypt(key_id=key_id, data=Sealed.of(clear), parameters=random), APP)
    assert done.iv is not None
    back = m.Decrypt(key_id=key_id, data=done.data, iv=done.iv, tag=done.tag)
    assert (await door.ask(back, APP)).data == Sealed.of(clear)
    assert DATA_LIMIT == 65_536
    most = Sealed.of(KeyMaterial(bytes(DATA_LIMIT)))
    assert (await door.ask(m.Encrypt(key_id=key_id, data=most, parameters=random), APP)).iv
    large = Sealed.of(KeyMaterial(bytes(DATA_LIMIT + 1)))
    with pytest.raises(InvalidField, match="at most"):
        await door.ask(m.Encrypt(key_id=key_id, data=large, parameters=random), APP)


async def test_what_vcenter_makes_is_aes_256(door: Server) -> None:
    with pytest.raises(InvalidField, match="only AES-256"):
        await door.ask(m.CreateKey(operation_id="1", length=128), APP)


async def test_an_owner_reads_no_trail(door: Server) -> None:
    with pytest.raises(PermissionDenied):
        await door.ask(m.QueryAudit(), APP)
