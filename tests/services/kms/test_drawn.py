"""What a key server draws for its secrets, and what each of them is for: nothing twice."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.crypto.transfer import seal_secret
from protocol.crypto.wrap import unwrap, wrap
from protocol.errors import CryptographicFailure
from protocol.messages.kms.administration import ChangeRoot, OpenRootTransfer, RotateKek
from protocol.messages.kms.keys import CreateKey, GetKeys
from protocol.secret import KeyMaterial
from protocol.terms import RootKind
from services.kms.access.authorization import caller_at
from services.kms.commit import store
from services.kms.objects.request_types import Create
from services.kms.sealing.roots.keyfile import MASTER_FILE
from services.kms.sealing.roots.passphrase import PASSPHRASE_OPTION
from services.kms.sealing.vault import (
    NUMBER_SIZE,
    Header,
    Kek,
    KeyRing,
    Vault,
    _sealing,
    new_ring,
    pack_header,
    seal,
    unseal,
)
from services.runtime.service import Halted, PowerInputs
from tests.services.kms.ports import LOCAL, OPERATOR, VCENTER, Server

ROOT = KeyMaterial(bytes(range(32)))
KEK = KeyMaterial(bytes(32))
WORDS = ("correct horse battery", "another horse battery")


def nonces(server: Server) -> list[tuple[bytes, bytes]]:
    """(number of the KEK, nonce) of each wrapped key."""
    found = server.platter.sql("SELECT wrapped FROM keys WHERE wrapped IS NOT NULL")
    return [(box[:NUMBER_SIZE], box[NUMBER_SIZE : NUMBER_SIZE + 12]) for (box,) in found]


def ring(server: Server) -> tuple[KeyRing, bytes]:
    """The key ring, and the nonce under which the key file's key seals it."""
    [(header, box)] = server.platter.sql("SELECT header, box FROM ring")
    return unseal(box, KeyMaterial(server.platter.written[MASTER_FILE]), header), box[:12]


async def rotated(server: Server, after: int) -> None:
    await server.ask(RotateKek(after=after), OPERATOR)
    for _ in range(100):
        await server.clock.sleep(0)
        if len(ring(server)[0].keks) == 1:
            return
    raise AssertionError("the rotation does not come to its end")


async def test_no_nonce_and_no_key_comes_twice(server: Server) -> None:
    """And each was drawn: none is a number, or made of another one."""
    used: set[tuple[bytes, bytes]] = set()
    keys: list[bytes] = []

    def look() -> None:
        now, nonce = ring(server)
        used.update([*nonces(server), (b"root", nonce)])
        keys.append(now.current.key.reveal())

    for after in (1, 2, 3):
        for number in range(5):
            await server.ask(CreateKey(operation_id=f"{after}/{number}"))
        look()
        await rotated(server, after)
    look()
    drawn = b"|".join(server.rng.tokens)
    assert len(used) == 5 + (5 + 5) + (10 + 5) + 15 + 4
    assert len({nonce for _, nonce in used}) == len(used)
    assert all(nonce in drawn for _, nonce in used)
    tagging = ring(server)[0].tagging.reveal()
    secrets = {*keys, tagging, server.platter.written[MASTER_FILE]}
    assert len(secrets) == 4 + 2
    assert secrets <= {*server.rng.tokens}


async def test_what_was_wrapped_before_a_rotation_is_written_under_the_new_kek(
    server: Server,
) -> None:
    """A pass that has gone by would not come to it."""
    core, vault = server.service.core, server.service._vault
    caller = caller_at(server.config, VCENTER.node, local=False)
    [fresh] = core.mint.keys(caller, [Create(operation_id="early")], 1.0)
    await rotated(server, 1)
    await server.database.transact(lambda connection: store.insert(connection, vault, fresh.row))
    assert [kek for kek, _ in nonces(server)] == [b"\0\0\0\2"]
    row = await server.database.query(lambda one: store.find(one, vault, fresh.row.key_id))
    assert row is not None and store.material(vault, row) == fresh.secret


async def test_a_key_of_another_purpose_opens_nothing(server: Server) -> None:
    """The root seals by a key that is made of it for that, and a KEK knows its number."""
    header = pack_header(Header(RootKind.KEYFILE, b"", 0.0))
    box = seal(new_ring(0.0, bytes(32), bytes(32)), ROOT, header, bytes(12))
    with pytest.raises(CryptographicFailure):
        unwrap(ROOT, box, header)
    keks = (Kek(1, 0.0, KEK), Kek(2, 0.0, KEK))
    vault = Vault(KeyRing(KeyMaterial(bytes(32)), keks))
    wrapped = vault.close(ROOT, b"aad", bytes(12))
    assert vault.open(wrapped, b"aad") == ROOT
    with pytest.raises(CryptographicFailure):
        vault.open(b"\0\0\0\1" + wrapped[NUMBER_SIZE:], b"aad")


def test_a_tag_is_of_one_table() -> None:
    vault = Vault(new_ring(0.0, bytes(32), bytes(32)))
    kinds = (b"key", b"identity", b"anchor", b"audit head")
    assert len({vault.tag(kind, b"row") for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert vault.verifier(kind)(b"row", vault.tag(kind, b"row"))
        assert not vault.verifier(kind)(b"row", vault.tag(b"other", b"row"))


@pytest.mark.parametrize("numbers", [(), (2, 1), (1, 1)])
def test_a_ring_has_an_order(numbers: tuple[int, ...]) -> None:
    """The last one is the current one, whoever has written the ring."""
    made = KeyRing(KEK, tuple([Kek(number, 0.0, KEK) for number in numbers]))
    with pytest.raises(CryptographicFailure, match="no order"):
        unseal(seal(made, ROOT, b"header", bytes(12)), ROOT, b"header")


def test_a_ring_is_bound_to_what_stands_beside_it() -> None:
    box = seal(new_ring(0.0, bytes(32), bytes(32)), ROOT, b"header", bytes(12))
    with pytest.raises(CryptographicFailure):
        unseal(box, ROOT, b"another")
    with pytest.raises(CryptographicFailure, match="not as this version"):
        unseal(wrap(_sealing(ROOT), KEK, b"header", bytes(12)), ROOT, b"header")


async def test_a_kek_with_keys_stays_whatever_the_pass_has_seen(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No way leads there; it costs one look, and the other way would cost keys."""
    made = [(await server.ask(CreateKey(operation_id=str(n)))).key_id for n in range(3)]

    def blind(*_: Any, **__: Any) -> None:
        return None

    with monkeypatch.context() as patch:
        patch.setattr(store, "rewrap", blind)
        await server.ask(RotateKek(after=1), OPERATOR)
        for _ in range(50):
            await server.clock.sleep(0)
        assert len(ring(server)[0].keks) == 2
    await server.boot()
    assert len((await server.ask(GetKeys(key_ids=tuple(made)))).material.keys) == 3


# ---- an older ring put back ------------------------------------------------------------------


def image(server: Server) -> bytes:
    return server.platter.image()


def put_back(server: Server, kept: bytes) -> None:
    server.platter.databases["keys"].deserialize(kept)


async def test_an_older_ring_is_noticed(server: Server) -> None:
    """The change of a ring is a change as that of a key is: the anchor knows of it."""
    kept = image(server)
    await server.ask(RotateKek(after=1), OPERATOR)
    put_back(server, kept)
    with pytest.raises(Halted, match="its database is older"):
        await server.boot()


async def typed(server: Server, words: str) -> None:
    public = (await server.ask(OpenRootTransfer(), LOCAL)).public_key
    box = seal_secret(public, KeyMaterial(words.encode()), "passphrase")
    await server.ask(ChangeRoot(root=RootKind.PASSPHRASE, passphrase=box), LOCAL)


async def test_a_passphrase_that_was_replaced_opens_no_older_database(server: Server) -> None:
    """It is replaced because somebody else has come to know it."""
    await typed(server, WORDS[0])
    kept = image(server)
    await typed(server, WORDS[1])
    put_back(server, kept)
    server.node.power = PowerInputs(boot_options={PASSPHRASE_OPTION: WORDS[0]})
    with pytest.raises(Halted, match="its database is older"):
        await server.boot()


async def test_a_passphrase_has_a_salt_and_costs_of_its_own(server: Server) -> None:
    """RFC 7914: the same words give another key at each change."""
    headers = []
    for _ in range(2):
        await typed(server, WORDS[0])
        [(header,)] = server.platter.sql("SELECT header FROM ring")
        headers.append(header)
    assert headers[0] != headers[1]
    salts = [token for token in server.rng.tokens if len(token) == 16 and token in headers[1]]
    assert len(salts) == 1 and salts[0] not in headers[0]


async def test_a_ring_that_is_there_is_replaced_by_no_start(server: Server) -> None:
    """Whatever else is missing: with the rest put back, it opens every key."""
    made = await server.ask(CreateKey(operation_id="1", get=True))
    kept = server.platter.sql("SELECT * FROM ring")
    [head] = server.platter.sql("SELECT * FROM audit_head")
    for missing in ("audit_head", "format"):
        held = server.platter.sql(f"SELECT * FROM {missing}")  # noqa: S608 - constants only
        server.platter.sql(f"DELETE FROM {missing}")  # noqa: S608 - constants only
        with pytest.raises(Halted):
            await server.boot()
        assert server.platter.sql("SELECT * FROM ring") == kept
        places = ", ".join("?" * len(held[0]))
        server.platter.sql(f"REPLACE INTO {missing} VALUES ({places})", *held[0])  # noqa: S608
    assert server.platter.sql("SELECT * FROM audit_head") == [head]
    await server.boot()
    assert (await server.ask(GetKeys(key_ids=(made.key_id,)))).material == made.material
