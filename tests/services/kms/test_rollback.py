"""An emptied, deleted or older database is noticed, and served from only when that is accepted."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.messages.agent import DiskAct, DiskAction, TpmBackend
from protocol.messages.kms.keys import Activate, CreateKey, GetKeys, Locate, QueryAudit, Revoke
from protocol.terms import KeyId
from protocol.tpm.errors import RC_FAILURE, tpm_error
from services.kms.custody.anchor import ANCHOR_FILE, ANCHORS, INDEX, SIZE
from services.kms.service import ACCEPT_OPTION, RESTORED_OPTION
from services.runtime.incarnation import WayDown
from services.runtime.service import Halted, PowerInputs
from services.runtime.sim.database import StoredDatabase
from tests.services.kms.filed import serving
from tests.services.kms.pair_rig import A, B, PairRig
from tests.services.kms.ports import LOCAL, OPERATOR, Server
from tests.services.kms.replaced import put_back, screen
from tests.services.kms.test_edited import CONSOLE, trusted

ACCEPT = {ACCEPT_OPTION: "true"}


async def made(server: Server, *operations: str) -> list[KeyId]:
    return [
        (await server.ask(CreateKey(operation_id=op, activate=True))).key_id for op in operations
    ]


async def test_a_deleted_database_is_noticed_and_can_be_accepted(server: Server) -> None:
    await made(server, "1", "2")
    put_back(server, None)
    assert "older than the server" in await screen(server)
    assert "--accept-rollback" in await screen(server), "again, for nothing was accepted"
    server.node.power = PowerInputs(boot_options=ACCEPT)
    await server.boot()
    assert (await server.ask(Locate())).total == 0
    [row] = (await server.ask(QueryAudit(), LOCAL)).rows
    assert (row.operation, row.who, row.result) == ("Accept Rollback", "local/kms", "Success")
    assert [kind for kind, _ in server.node.records] == ["kms.rollback_accepted"]
    server.node.power = PowerInputs()
    await server.boot()  # accepted once and for all


async def test_a_client_that_was_revoked_since_is_let_in_again_and_the_screen_says_so(
    server: Server,
) -> None:
    admission = await server.service.kmip_identities()
    digest = (await trusted(admission, 1)).digest
    image = server.platter.image()
    await admission.revoke(CONSOLE, digest)
    put_back(server, image)
    assert "clients revoked since then let in again" in await screen(server)
    server.node.power = PowerInputs(boot_options=ACCEPT)
    await server.boot()
    [found] = (await server.service.kmip_identities()).all()
    assert (found.digest, found.revoked) == (digest, False)


RESTORED = {RESTORED_OPTION: "nightly"}


async def last_row(server: Server) -> tuple[str, str]:
    row = (await server.ask(QueryAudit(), LOCAL)).rows[-1]
    return row.operation, row.who


async def test_a_restored_database_is_served_from_and_told_as_that(server: Server) -> None:
    """The anchor knows more; who restored it says so, and from then on it is the last one."""
    await made(server, "1")
    image = server.platter.image()
    await made(server, "2")
    put_back(server, image)
    server.node.power = PowerInputs(boot_options=RESTORED)
    await server.boot()
    assert (await server.ask(Locate())).total == 1
    assert await last_row(server) == ("Restore", "local/kms")
    [(kind, fields)] = server.node.records
    assert (kind, fields["backup"]) == ("kms.restored", "nightly")
    assert "older than the server" in fields["text"]
    server.node.power = PowerInputs()
    await server.boot()


async def test_a_restore_that_nothing_here_notices_is_told_too(server: Server) -> None:
    """The whole disk was put back, its anchor with it."""
    await made(server, "1")
    image, anchor = server.platter.image(), server.platter.written[ANCHOR_FILE]
    await made(server, "2")
    put_back(server, image)
    server.platter.written[ANCHOR_FILE] = anchor
    server.node.power = PowerInputs(boot_options=RESTORED)
    await server.boot()
    assert await last_row(server) == ("Restore", "local/kms")
    server.node.power = PowerInputs()
    await server.boot()
    assert await last_row(server) == ("Restore", "local/kms"), "once"


@pytest.mark.parametrize("change", ["create", "revoke", "activate"])
async def test_one_change_less_is_noticed(server: Server, change: str) -> None:
    [key] = await made(server, "1")
    new = (await server.ask(CreateKey(operation_id="n"))).key_id
    image = server.platter.image()
    match change:
        case "create":
            await made(server, "2")
        case "revoke":
            await server.ask(Revoke(key_id=key), OPERATOR)
        case _:
            await server.ask(Activate(key_id=new))
    put_back(server, image)
    assert "older than the server" in await screen(server)


async def test_the_last_copy_is_served_from(server: Server) -> None:
    """Also one from before keys were only read: nothing is missing in it."""
    keys = await made(server, "1", "2")
    image = server.platter.image()
    await server.ask(GetKeys(key_ids=tuple(keys)))
    put_back(server, image)
    await server.boot()
    assert (await server.ask(Locate())).key_ids == tuple(keys)


async def test_another_history_of_the_same_length_is_noticed(server: Server) -> None:
    await made(server, "1")
    image = server.platter.image()
    anchor = server.platter.written[ANCHOR_FILE]
    await made(server, "2")
    later = server.platter.written[ANCHOR_FILE]
    put_back(server, image)
    server.platter.written[ANCHOR_FILE] = anchor
    await server.boot()
    await made(server, "3")
    server.platter.written[ANCHOR_FILE] = later
    assert "older than the server, or another one" in await screen(server)


async def test_a_missing_anchor_is_noticed(server: Server) -> None:
    await made(server, "1")
    del server.platter.written[ANCHOR_FILE]
    assert f"{ANCHOR_FILE}, which has the end of its audit trail, is missing" in await screen(
        server
    )


async def test_any_altered_anchor_is_noticed_and_one_that_a_crash_cut_off_is_not_asked_for(
    server: Server,
) -> None:
    """Of a file that ends in the midst of an anchor the one before counts, if there is one."""
    await made(server, "1", "2")
    files = server.platter.written
    whole = files[ANCHOR_FILE]
    assert len(whole) == 3 * SIZE, "of the start and of each change"
    for place in range(0, len(whole), 7):
        files[ANCHOR_FILE] = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        assert f"{ANCHOR_FILE}, which has the end of its audit trail, was altered" in await screen(
            server
        )
    for size in (0, 1, SIZE - 1):
        files[ANCHOR_FILE] = whole[:size]
        assert "was altered" in await screen(server)
    for size in (SIZE, SIZE + 1, 2 * SIZE, 3 * SIZE - 1):
        files[ANCHOR_FILE] = whole[:size]
        server.node.records.clear()
        await server.boot()
        torn = [("kms.anchor_torn", {"size": size})] if size % SIZE else []
        assert server.node.records == torn
        assert (await server.ask(Locate())).total == 2


async def test_the_file_of_anchors_does_not_grow_for_ever(server: Server) -> None:
    """Each change leaves the last anchor at its end, whether the file was made anew for it."""
    files = server.platter.written
    for number in range(2 * ANCHORS):
        await made(server, str(number))
        assert len(files[ANCHOR_FILE]) == SIZE * ((number + 1) % ANCHORS + 1)
        assert server.platter.synced[ANCHOR_FILE][:SIZE] == files[ANCHOR_FILE][:SIZE]
        assert server.disk.contents[ANCHOR_FILE] == files[ANCHOR_FILE], "it is durable"
    image = server.platter.image()
    await made(server, "one more")
    put_back(server, image)
    assert "older than the server" in await screen(server)


async def test_an_anchor_that_was_written_in_part_is_followed_by_a_whole_file(
    server: Server,
) -> None:
    append = server.disk.append

    async def torn(path: str, data: bytes, *, sync: bool = False) -> None:
        await append(path, data[: SIZE // 2])
        raise OSError(errno.EIO, "Input/output error")

    await made(server, "1")
    server.disk.append = torn  # type: ignore[method-assign]
    await made(server, "2")
    assert [kind for kind, _ in server.node.records] == ["kms.anchor_failed"]
    server.disk.append = append  # type: ignore[method-assign]
    image = server.platter.image()
    await made(server, "3")
    await made(server, "4")
    await server.boot()
    put_back(server, image)
    assert "older than the server" in await screen(server)


async def test_a_crash_between_change_and_anchor_is_no_rollback(server: Server) -> None:
    await made(server, "1")
    server.database.crash_at_commit = server.database.commits + 1
    with pytest.raises(BaseException, match="crash"):
        await made(server, "2")
    await server.boot()
    assert (await server.ask(Locate())).total == 2


async def test_a_disk_that_refuses_the_anchor_keeps_no_key_back(server: Server) -> None:
    async def full(path: str, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    server.disk.write = full  # type: ignore[method-assign]
    [key] = await made(server, "1")
    assert ("kms.anchor_failed", {"text": "[Errno 28] No space left on device"}) in (
        server.node.records
    )
    await server.boot()
    assert (await server.ask(Locate())).key_ids == (key,)


async def test_real_files_put_back_are_noticed(tmp_path: Path) -> None:
    """Deleted, emptied and older; and a file that is no database names its cure."""
    folder = tmp_path / "kms"
    async with serving(folder) as server:
        await server.ask(CreateKey(operation_id="1"))
        await server.down(WayDown.STOP)
        database = next(folder.rglob("keys.db"))
        copy = tmp_path / "copy"
        shutil.copy(database, copy)
        await server.boot()
        await server.ask(CreateKey(operation_id="2"))
        await server.down(WayDown.STOP)
        last = database.read_bytes()
        for content in (None, b"", copy.read_bytes(), b"x" * 8192):
            database.unlink()
            if content is not None:
                database.write_bytes(content)
            with pytest.raises(Halted) as halted:
                await server.boot()
            await server.down(WayDown.CRASH)
            assert "--accept-rollback" in halted.value.screen
        database.write_bytes(last)
        await server.boot()
        assert (await server.ask(Locate())).total == 2


# ---- with a TPM, and in a pair -----------------------------------------------------------------


@pytest.fixture(params=[TpmBackend.NONE, TpmBackend.MODEL], ids=["no-tpm", "tpm"])
def rig(request: pytest.FixtureRequest) -> Iterator[PairRig]:
    rig = PairRig(tpm=request.param)
    yield rig
    rig.healthy()
    rig.close()


def with_tpm(rig: PairRig) -> bool:
    return rig.world.device(A) is not None


def test_a_whole_disk_put_back_is_noticed_by_the_tpm(rig: PairRig) -> None:
    rig.power_off(B)
    rig.key(A, "1")
    rig.power_off(A, "stop")
    rig.run(rig.agent.disk(DiskAction(node=A, act=DiskAct.SAVE, label="old")))
    rig.power_on(A)
    rig.key(A, "2")
    rig.power_off(A, "power_loss")
    rig.run(rig.agent.disk(DiskAction(node=A, act=DiskAct.RESTORE, label="old")))
    shown = rig.power_on(A).screen
    if not with_tpm(rig):
        assert shown == ""
        return
    assert "the TPM is at" in shown and "--accept-rollback" in shown
    rig.power_off(A)
    assert rig.power_on(A, **ACCEPT).screen == ""
    assert len(rig.attributes(A)) == 1
    rig.power_off(A)
    assert rig.power_on(A).screen == ""


def test_a_disk_that_lacks_no_more_than_a_start_is_not_the_last_one(rig: PairRig) -> None:
    rig.power_off(A, "stop")
    rig.run(rig.agent.disk(DiskAction(node=A, act=DiskAct.SAVE, label="old")))
    rig.power_on(A)
    rig.power_off(A, "stop")
    rig.run(rig.agent.disk(DiskAction(node=A, act=DiskAct.RESTORE, label="old")))
    assert ("the TPM is at" in rig.power_on(A).screen) is with_tpm(rig)


def test_a_cleared_tpm_is_noticed(rig: PairRig) -> None:
    rig.key(A, "1")
    rig.power_off(A, "stop")
    device = rig.world.device(A)
    if device is None:
        return
    device.clear()
    assert "the TPM has no counter" in rig.power_on(A).screen
    rig.power_off(A)
    assert rig.power_on(A, **ACCEPT).screen == ""
    assert rig.attributes(A).keys() == rig.material.keys()


def test_a_dead_tpm_is_noticed_and_can_be_done_without(
    rig: PairRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.key(A, "1")
    rig.power_off(A, "stop")
    device = rig.world.device(A)
    if device is None:
        return

    def dead(index: int, bump: bool = False) -> int:
        raise tpm_error(RC_FAILURE)

    monkeypatch.setattr(device, "counter", dead)
    assert "the TPM that counts how far it has come fails" in rig.power_on(A).screen
    rig.power_off(A)
    assert rig.power_on(A, **ACCEPT).screen == ""
    rig.key(A, "2")
    assert rig.attributes(A).keys() == rig.material.keys()
    failed = rig.seen("kms.anchor_failed")
    assert len(failed) == 1, "it is told once, and not asked in this life again"


def test_a_tpm_that_fails_once_at_a_start_makes_no_rollback(
    rig: PairRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has told that nothing was put back, and fails when the anchor of this start is written."""
    rig.key(A, "1")
    rig.power_off(A, "stop")
    device = rig.world.device(A)
    if device is None:
        return
    real, calls = device.counter, []

    def once(index: int, bump: bool = False) -> int:
        calls.append(bump)
        if len(calls) == 2:
            raise tpm_error(RC_FAILURE)
        return real(index, bump)

    with monkeypatch.context() as patch:
        patch.setattr(device, "counter", once)
        assert rig.power_on(A).screen == ""
        assert len(rig.seen("kms.anchor_failed")) == 1
    rig.key(A, "2")
    rig.power_off(A, "crash")
    assert rig.power_on(A).screen == ""
    assert rig.attributes(A).keys() == rig.material.keys()


def test_every_change_raises_the_counter(rig: PairRig) -> None:
    device = rig.world.device(A)
    if device is None:
        return
    before = device.counter(INDEX)
    rig.key(A, "1")
    assert device.counter(INDEX) == before + 1
    rig.values(A, tuple(rig.material))
    assert device.counter(INDEX) == before + 1, "reading is no change"


@pytest.mark.parametrize("way", ["crash", "power_loss", "stop"])
def test_no_end_of_a_life_is_taken_for_a_rollback(rig: PairRig, way: str) -> None:
    for number in range(3):
        rig.key(A, str(number))
        rig.power_off(A, way)
        assert rig.power_on(A).screen == ""


def test_a_rolled_back_server_of_a_pair_is_filled_by_the_other(rig: PairRig) -> None:
    rig.key(A, "1")
    rig.power_off(B)
    rig.world.stores[B].drives["keys"].close()
    rig.world.stores[B].drives["keys"] = StoredDatabase()
    assert "older than the server" in rig.power_on(B).screen
    rig.power_off(B)
    assert rig.power_on(B, **ACCEPT).screen == ""
    keys = tuple(rig.material)
    assert rig.values(B, keys) == rig.material
    rig.sleep(20)
    assert rig.in_step() and rig.attributes(A) == rig.attributes(B)
