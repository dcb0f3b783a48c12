"""What seals a key server's keys: roots, and KEKs that are rotated under its requests."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

import pytest

from protocol.crypto.transfer import seal_secret
from protocol.errors import GeneralFailure, InvalidArgument, InvalidState, PermissionDenied
from protocol.messages.agent import TpmBackend
from protocol.messages.kms.administration import (
    ChangeRoot,
    KeyCustody,
    OpenRootTransfer,
    QueryCustody,
    RotateKek,
)
from protocol.messages.kms.keys import CreateKey, Destroy, GetKeys, Locate, QueryAudit, Revoke
from protocol.secret import KeyMaterial
from protocol.terms import RootKind
from services.kms.sealing.roots.keyfile import MASTER_FILE
from services.kms.sealing.roots.passphrase import LEAST, PASSPHRASE_OPTION
from services.kms.sealing.vault import KEKS_LIMIT
from services.kms.settings.config import KmsConfig
from services.runtime.service import Halted, PowerInputs
from tests.services.kms.pair_rig import A, B, PairRig
from tests.services.kms.ports import CONFIG, LOCAL, OPERATOR, VCENTER, Server

WORDS = "correct horse battery"
TYPED = {PASSPHRASE_OPTION: WORDS}


@pytest.fixture(params=[TpmBackend.NONE, TpmBackend.MODEL], ids=["no-tpm", "tpm"])
def rig(request: pytest.FixtureRequest) -> Iterator[PairRig]:
    rig = PairRig(tpm=request.param, rewrap_keys=4)
    yield rig
    rig.healthy()
    rig.close()


@pytest.fixture
def tpm_rig() -> Iterator[PairRig]:
    rig = PairRig(tpm=TpmBackend.MODEL)
    yield rig
    rig.close()


def kept(rig: PairRig) -> KeyCustody:
    return rig.at(A, QueryCustody())


def keks_at_rest(rig: PairRig) -> set[str]:
    rows = rig.at_rest(A, "SELECT DISTINCT hex(kek_id) FROM keys WHERE wrapped IS NOT NULL")
    return {kek for (kek,) in rows}


def take_root(rig: PairRig, root: RootKind, words: str = "") -> KeyCustody:
    box = b""
    if words:
        public = rig.at(A, OpenRootTransfer()).public_key
        box = seal_secret(public, KeyMaterial(words.encode()), "passphrase")
    return rig.at(A, ChangeRoot(root=root, passphrase=box))


def trail(rig: PairRig) -> list[tuple[str, str, str]]:
    rows = rig.at(A, QueryAudit()).rows
    custody = ("Rotate KEK", "Retire KEK", "Change Root")
    return [(r.operation, r.key_id, r.who) for r in rows if r.operation in custody]


# ---- rotation ------------------------------------------------------------------------------------


def test_a_rotation_brings_every_key_under_another_kek(rig: PairRig) -> None:
    keys = tuple(rig.key(A, str(number)) for number in range(10))
    assert keks_at_rest(rig) == {"00000001"}
    told = rig.at(A, RotateKek(after=1))
    assert (told.kek, told.keks, told.root) == (2, 2, RootKind.KEYFILE)
    assert 0 < told.waiting <= 10
    rig.key(A, "while it goes on")
    rig.sleep(10)
    assert (kept(rig).kek, kept(rig).keks, kept(rig).waiting) == (2, 1, 0)
    assert keks_at_rest(rig) == {"00000002"}
    assert rig.values(A, tuple(rig.material)) == rig.material
    assert trail(rig) == [
        ("Rotate KEK", "KEK 2", f"local/{A}"),
        ("Retire KEK", "KEK 1", f"local/{A}"),
    ]
    for way in ("crash", "power_loss"):
        rig.power_off(A, way)
        assert rig.power_on(A).screen == ""
        assert rig.values(A, keys) == {key: rig.material[key] for key in keys}
    assert kept(rig).kek == 2
    assert rig.at(B, QueryCustody()).kek == 1, "each server of a pair has KEKs of its own"
    assert rig.values(B, tuple(rig.material)) == rig.material


def test_a_rotation_that_is_asked_for_again_is_one(rig: PairRig) -> None:
    rig.key(A, "1")
    for _ in range(2):
        assert rig.at(A, RotateKek(after=1)).kek == 2
    rig.sleep(5)
    assert rig.at(A, RotateKek(after=1)).kek == 2
    assert [operation for operation, _, _ in trail(rig)] == ["Rotate KEK", "Retire KEK"]


def test_two_rotations_at_once_end_under_the_last(rig: PairRig) -> None:
    for number in range(10):
        rig.key(A, str(number))
    for after in (1, 2):
        rig.at(A, RotateKek(after=after))
    assert kept(rig).keks == 3
    rig.sleep(10)
    assert (kept(rig).kek, kept(rig).keks) == (3, 1)
    assert keks_at_rest(rig) == {"00000003"}
    assert trail(rig)[-1] == ("Retire KEK", "KEK 1, KEK 2", f"local/{A}")
    assert rig.values(A, tuple(rig.material)) == rig.material


@pytest.mark.parametrize("way", ["crash", "power_loss", "stop"])
@pytest.mark.parametrize("after_s", [0.0, 0.15, 0.35, 0.6])
def test_the_next_life_goes_on_with_it(rig: PairRig, way: str, after_s: float) -> None:
    for number in range(10):
        rig.key(A, str(number))
    rig.at(A, RotateKek(after=1))
    rig.sleep(after_s)
    rig.power_off(A, way)
    assert rig.power_on(A).screen == ""
    rig.sleep(10)
    assert (kept(rig).kek, kept(rig).keks, kept(rig).waiting) == (2, 1, 0)
    assert rig.values(A, tuple(rig.material)) == rig.material
    assert [operation for operation, _, _ in trail(rig)] == ["Rotate KEK", "Retire KEK"]


def test_a_ring_takes_so_many_keks(rig: PairRig) -> None:
    for number in range(40):
        rig.key(A, str(number))
    for after in range(1, KEKS_LIMIT):
        rig.at(A, RotateKek(after=after))
    with pytest.raises(InvalidState, match="wait for these"):
        rig.at(A, RotateKek(after=KEKS_LIMIT))
    rig.sleep(30)
    assert kept(rig).keks == 1
    assert rig.at(A, RotateKek(after=KEKS_LIMIT)).kek == KEKS_LIMIT + 1


def test_destroyed_keys_wait_for_nothing(rig: PairRig) -> None:
    key = rig.key(A, "1")
    rig.at(A, Revoke(key_id=key))
    rig.at(A, Destroy(key_id=key))
    assert rig.at(A, RotateKek(after=1)).waiting == 0
    rig.sleep(5)
    assert kept(rig).keks == 1


def test_what_waits_for_the_peer_reaches_it_through_a_rotation(rig: PairRig) -> None:
    rig.power_off(B)
    for number in range(6):
        rig.key(A, str(number))
    rig.at(A, RotateKek(after=1))
    rig.sleep(10)
    assert kept(rig).keks == 1
    rig.power_on(B)
    rig.sleep(30)
    assert rig.in_step()
    assert rig.values(B, tuple(rig.material)) == rig.material


def test_a_row_of_a_kek_that_is_gone_is_noticed(rig: PairRig) -> None:
    """An older row with its own tag, which the trail alone does not tell from the last one."""
    rig.key(A, "1")
    columns = "wrapped, tag"
    [old] = rig.at_rest(A, f"SELECT {columns} FROM keys")  # noqa: S608 - constants only
    rig.at(A, RotateKek(after=1))
    rig.sleep(5)
    rig.power_off(A, "stop")
    connection = rig.world.stores[A].drives["keys"].connection
    connection.execute("UPDATE keys SET wrapped = ?, tag = ?", old)
    assert "under a KEK that is gone" in rig.power_on(A).screen


def test_an_altered_row_ends_a_pass_and_every_kek_stays(rig: PairRig) -> None:
    for number in range(10):
        rig.key(A, str(number))
    connection = rig.world.stores[A].drives["keys"].connection
    connection.execute("UPDATE keys SET state = 'Pre-Active' WHERE ordinal = 6")
    rig.at(A, RotateKek(after=1))
    rig.sleep(20)
    [ended] = rig.seen("kms.rewrap_ended")
    assert "was altered" in str(ended)
    assert kept(rig).keks == 2
    connection.execute("UPDATE keys SET state = 'Active' WHERE ordinal = 6")
    rig.at(A, RotateKek(after=2))
    rig.sleep(20)
    assert (kept(rig).kek, kept(rig).keks) == (3, 1)
    assert rig.values(A, tuple(rig.material)) == rig.material


async def test_a_full_disk_makes_no_rotation(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.ask(CreateKey(operation_id="1"))

    async def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(server.database, "transact", full)
        with pytest.raises(GeneralFailure, match="No space left"):
            await server.ask(RotateKek(after=1), LOCAL)
    assert (await server.ask(QueryCustody(), LOCAL)).kek == 1
    await server.boot()
    assert (await server.ask(QueryCustody(), LOCAL)).kek == 1


def test_a_rotation_waits_out_a_full_disk(rig: PairRig) -> None:
    for number in range(10):
        rig.key(A, str(number))
    disk = rig.world.stores[A]
    disk.full = True
    with pytest.raises(GeneralFailure, match="No space left"):
        rig.at(A, RotateKek(after=1))
    disk.full = False
    rig.at(A, RotateKek(after=1))
    disk.full = True
    rig.sleep(20)
    assert kept(rig).keks == 2 and kept(rig).waiting > 0
    assert len(rig.seen("kms.rewrap_waits")) == 1, "told once"
    disk.full = False
    rig.sleep(20)
    assert (kept(rig).kek, kept(rig).keks) == (2, 1)
    assert rig.values(A, tuple(rig.material)) == rig.material


def test_a_commit_that_was_refused_and_is_there_counts(
    rig: PairRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody was promised it; but what is on the disk is what the server goes on from."""
    rig.key(A, "1")
    service: Any = rig.agent.machine(A).runner.service
    real = service.custody._database.transact

    async def told_otherwise(fn: Any, applied: Any = None) -> Any:
        await real(fn)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(service.custody._database, "transact", told_otherwise)
        with pytest.raises(GeneralFailure, match="Input/output"):
            rig.at(A, RotateKek(after=1))
    assert kept(rig).kek == 2
    assert rig.at(A, RotateKek(after=1)).kek == 2
    with monkeypatch.context() as patch:
        patch.setattr(service.custody._database, "transact", told_otherwise)
        with pytest.raises(GeneralFailure, match="Input/output"):
            take_root(rig, RootKind.PASSPHRASE, WORDS)
    assert kept(rig).root is RootKind.PASSPHRASE
    rig.power_off(A, "power_loss")
    assert rig.power_on(A, **TYPED).screen == ""
    assert rig.values(A, tuple(rig.material)) == rig.material


# ---- roots ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_passphrase_is_asked_for_at_each_start(rig: PairRig) -> None:
    keys = tuple(rig.key(A, str(number)) for number in range(3))
    before = rig.at_rest(A, "SELECT wrapped, tag FROM keys ORDER BY ordinal")
    assert take_root(rig, RootKind.PASSPHRASE, WORDS).root is RootKind.PASSPHRASE
    assert rig.at_rest(A, "SELECT wrapped, tag FROM keys ORDER BY ordinal") == before
    store = rig.world.stores[A]
    assert not [path for path, _ in store.images() if "master.key" in path]
    assert not [path for path, data in store.images() if WORDS.encode() in data]
    rig.power_off(A, "power_loss")
    shown = rig.power_on(A).screen
    assert "none was given" in shown and f"{PASSPHRASE_OPTION}=-" in shown
    rig.power_off(A)
    shown = rig.power_on(A, **{PASSPHRASE_OPTION: "something else"}).screen
    assert "not the passphrase" in shown and "something else" not in shown
    rig.power_off(A)
    assert rig.power_on(A, **TYPED).screen == ""
    assert rig.values(A, keys) == {key: rig.material[key] for key in keys}
    assert trail(rig) == [("Change Root", "root", f"local/{A}")]
    assert not [record for record in rig.records if WORDS in str(record)]
    assert not [it for it in rig.wire if WORDS.encode() in it]


@pytest.mark.slow
def test_a_rotation_under_a_passphrase_asks_for_nothing(rig: PairRig) -> None:
    rig.key(A, "1")
    take_root(rig, RootKind.PASSPHRASE, WORDS)
    rig.at(A, RotateKek(after=1))
    rig.power_off(A, "crash")
    assert rig.power_on(A, **TYPED).screen == ""
    rig.sleep(5)
    assert (kept(rig).kek, kept(rig).keks, kept(rig).root) == (2, 1, RootKind.PASSPHRASE)
    assert rig.values(A, tuple(rig.material)) == rig.material


@pytest.mark.slow
def test_another_passphrase_and_the_key_file_again(rig: PairRig) -> None:
    rig.key(A, "1")
    take_root(rig, RootKind.PASSPHRASE, WORDS)
    take_root(rig, RootKind.PASSPHRASE, WORDS.upper())
    rig.power_off(A)
    assert "not the passphrase" in rig.power_on(A, **TYPED).screen
    rig.power_off(A)
    assert rig.power_on(A, **{PASSPHRASE_OPTION: WORDS.upper()}).screen == ""
    assert take_root(rig, RootKind.KEYFILE).root is RootKind.KEYFILE
    rig.power_off(A, "power_loss")
    assert rig.power_on(A).screen == ""
    assert rig.values(A, tuple(rig.material)) == rig.material
    with pytest.raises(InvalidState, match="already"):
        take_root(rig, RootKind.KEYFILE)


def test_the_tpm_opens_it_here_and_nowhere_else(tpm_rig: PairRig) -> None:
    rig = tpm_rig
    rig.key(A, "1")
    assert take_root(rig, RootKind.TPM).root is RootKind.TPM
    assert not [path for path, _ in rig.world.stores[A].images() if "master.key" in path]
    for way in ("stop", "crash", "power_loss"):
        rig.power_off(A, way)
        assert rig.power_on(A).screen == ""
        assert rig.values(A, tuple(rig.material)) == rig.material
    machine = rig.agent.machine(A)
    firmware = machine.firmware
    rig.power_off(A, "stop")
    machine.firmware = type(firmware)(secure_boot=not firmware.secure_boot)
    shown = rig.power_on(A).screen
    assert "PCR 7" in shown and "0x99d" in shown and "Set the firmware's Secure Boot" in shown
    machine.firmware = firmware
    rig.power_off(A)
    assert rig.power_on(A).screen == ""
    rig.power_off(A, "stop")
    device = rig.world.device(A)
    assert device is not None
    device.clear()
    shown = rig.power_on(A).screen
    assert "another TPM, or this one was cleared" in shown and "keys.db" in shown


def test_without_a_tpm_there_is_no_such_root() -> None:
    rig = PairRig()
    with pytest.raises(InvalidState, match="it has none"):
        take_root(rig, RootKind.TPM)
    assert kept(rig).root is RootKind.KEYFILE
    rig.power_off(A)
    assert rig.power_on(A).screen == "", "the key file is there still"
    rig.close()


@pytest.mark.parametrize("words", ["", "x" * (LEAST - 1), "y" * 1025])
async def test_a_passphrase_that_is_none(server: Server, words: str) -> None:
    public = (await server.ask(OpenRootTransfer(), LOCAL)).public_key
    box = seal_secret(public, KeyMaterial(words.encode()), "passphrase")
    with pytest.raises(InvalidArgument, match=r"characters|bytes"):
        await server.ask(ChangeRoot(root=RootKind.PASSPHRASE, passphrase=box), LOCAL)
    with pytest.raises(InvalidState, match="no transfer"):
        await server.ask(ChangeRoot(root=RootKind.PASSPHRASE, passphrase=box), LOCAL)
    assert (await server.ask(QueryCustody(), LOCAL)).root is RootKind.KEYFILE


async def test_a_first_start_with_a_passphrase(server: Server) -> None:
    fresh = Server(config=KmsConfig(identities=CONFIG.identities, root=RootKind.PASSPHRASE))
    with pytest.raises(Halted, match="none was given"):
        await fresh.boot()
    fresh.node.power = PowerInputs(boot_options={PASSPHRASE_OPTION: "short"})
    with pytest.raises(Halted, match="fewer than"):
        await fresh.boot()
    fresh.node.power = PowerInputs(boot_options=TYPED)
    await fresh.boot()
    made = await fresh.ask(CreateKey(operation_id="1", get=True))
    assert MASTER_FILE not in fresh.platter.written
    await fresh.boot()
    got = await fresh.ask(GetKeys(key_ids=(made.key_id,)))
    assert got.material == made.material
    fresh.platter.databases["keys"].close()


@pytest.mark.slow
@pytest.mark.parametrize("left", [MASTER_FILE, f"{MASTER_FILE}.new"])
async def test_what_an_unfinished_change_left_is_removed(left: str) -> None:
    """A key file that was made for a change of root which never came, or an old root's."""
    server = Server(config=KmsConfig(identities=CONFIG.identities, root=RootKind.PASSPHRASE))
    server.node.power = PowerInputs(boot_options=TYPED)
    await server.boot()
    server.platter.written[left] = bytes(32)
    await server.boot()
    assert left not in server.platter.written
    assert (await server.ask(Locate())).total == 0
    server.platter.databases["keys"].close()


async def test_an_old_root_that_cannot_be_removed_is_told(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ring is under the new one, and the next start tries again."""
    public = (await server.ask(OpenRootTransfer(), LOCAL)).public_key
    box = seal_secret(public, KeyMaterial(WORDS.encode()), "passphrase")

    async def refused(path: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(server.disk, "remove", refused)
    await server.ask(ChangeRoot(root=RootKind.PASSPHRASE, passphrase=box), LOCAL)
    assert ("kms.root_left", {"level": "warning", "root": "keyfile"}) == _told(server)
    server.node.power = PowerInputs(boot_options=TYPED)
    await server.boot()
    assert MASTER_FILE not in server.platter.written


def _told(server: Server) -> tuple[str, dict[str, Any]]:
    kind, fields = server.node.records[-1]
    return kind, {"level": "warning", "root": fields["root"]}


async def test_who_may_change_what_seals_the_keys(server: Server) -> None:
    assert (await server.ask(RotateKek(after=1), OPERATOR)).kek == 2
    with pytest.raises(PermissionDenied, match="console"):
        await server.ask(ChangeRoot(root=RootKind.TPM), OPERATOR)
    with pytest.raises(PermissionDenied, match="console"):
        await server.ask(OpenRootTransfer(), OPERATOR)
    for message in (RotateKek(after=2), QueryCustody()):
        with pytest.raises(PermissionDenied, match="may not"):
            await server.ask(message, VCENTER)
    rows = (await server.ask(QueryAudit(), LOCAL)).rows
    told = [
        (row.who, row.operation, row.result) for row in rows if row.who != f"local/{LOCAL.node}"
    ]
    assert told == [
        ("operator", "Rotate KEK", "Success"),
        ("operator", "Change Root", "Permission Denied"),
        ("operator", "Change Root", "Permission Denied"),
        ("vcenter", "Rotate KEK", "Permission Denied"),
        ("vcenter", "Query Audit", "Permission Denied"),
    ], "who tried is told as well"
    assert (await server.ask(QueryCustody(), OPERATOR)).kek == 2
