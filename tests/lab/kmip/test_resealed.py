"""``kmip set-root``: another root for the keys of a server without a lab, whenever it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.cli.main import run
from lab.kmip.alone import Alone, passphrase_options, screen_error
from lab.kmip.server import Reseal, reseal
from lab.schema.errors import KeysteadError
from protocol.terms import KeyId, RootKind
from services.kms.access.authorization import KeyServerCaller
from services.kms.commit import store
from services.kms.custody.anchor import AnchorKeeper
from services.kms.objects.request_types import Create, Get
from services.kms.sealing.roots import passphrase
from services.kms.settings.config import KmsConfig, KmsRole
from services.runtime.service import Halted
from tests.lab.kmip.test_serve_struck import content

OWNER = KeyServerCaller("app", KmsRole.OWNER, "default")


async def served(folder: Path, words: Path | None, key: KeyId | None = None) -> KeyId:
    """A life of the server: it gives a key, or makes one first. Its refusal when it is halted."""
    root = RootKind.KEYFILE if words is None else RootKind.PASSPHRASE
    server = Alone(folder / "disk", KmsConfig(root=root), options=passphrase_options(words))
    try:
        await server.start()
    except Halted as end:
        await server.close()
        raise screen_error(end.screen) from None
    core = server.service.core
    key = key or (await core.execute(OWNER, Create())).unique_identifier
    assert (await core.execute(OWNER, Get(unique_identifiers=(key,)))).keys[0].material
    await server.stop()
    return key


async def opened_by(folder: Path, key: KeyId, *words: Path | None) -> list[Path | None]:
    """Which of these open the keys."""
    found: list[Path | None] = []
    for one in words:
        try:
            await served(folder, one, key)
        except KeysteadError:
            continue
        found.append(one)
    return found


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guess costs next to nothing here."""
    monkeypatch.setattr(passphrase, "COST", 1 << 8)


@pytest.fixture
def words(tmp_path: Path) -> tuple[Path, Path]:
    """Files of an old passphrase and a new one."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("correct horse battery\n")
    new.write_text("staple the other horse\n")
    return old, new


def ask(folder: Path, root: str, *more: object) -> int:
    return run(["kmip", "set-root", "--folder", str(folder), "--root", root, *map(str, more)])


def made(folder: Path, words: Path | None) -> KeyId:
    (folder / "disk").mkdir(parents=True)
    return asyncio.run(served(folder, words))


def test_another_passphrase_needs_the_old_one_and_takes_its_place(
    tmp_path: Path, words: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, (old, new) = tmp_path / "keys", words
    key = made(folder, old)
    for more in ((), ("--old-passphrase-file", new)):
        assert ask(folder, "passphrase", "--passphrase-file", new, *more) == 64
        told = capsys.readouterr().err
        assert "KS-USE-003" in told
        assert "--old-passphrase-file FILE" in told and "lab file" not in told
    assert asyncio.run(opened_by(folder, key, old, new)) == [old]
    given = ("--passphrase-file", new, "--old-passphrase-file", old)
    assert ask(folder, "passphrase", *given) == 0
    assert "passphrase" in capsys.readouterr().out
    assert asyncio.run(opened_by(folder, key, old, new)) == [new]
    assert not [file for file in folder.rglob("*") if b"horse" in content(file)]


def test_a_key_file_in_place_of_a_passphrase_and_back(
    tmp_path: Path, words: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, (old, new) = tmp_path / "keys", words
    key = made(folder, old)
    assert ask(folder, "keyfile", "--old-passphrase-file", old, "-o", "json") == 0
    assert '"root": "keyfile"' in capsys.readouterr().out
    assert list(folder.rglob("master.key"))
    assert ask(folder, "passphrase", "--passphrase-file", new) == 0
    assert not list(folder.rglob("master.key"))
    assert asyncio.run(opened_by(folder, key, None, old, new)) == [new]


def test_what_is_said_of_bad_input(
    tmp_path: Path, words: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, (old, new) = tmp_path / "keys", words
    (tmp_path / "short").write_text("short\n")
    given = ("--passphrase-file", new)
    assert ask(tmp_path / "none", "passphrase", *given) == 64
    assert "no key server has kept anything there" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    key = made(folder, None)
    for root, more, said in (
        ("tpm", (), "not available here"),
        ("passphrase", (), "--passphrase-file"),
        ("keyfile", given, "of no other root"),
        ("keyfile", (), "is a key file already"),
        ("passphrase", ("--passphrase-file", tmp_path / "short"), "fewer than 12 characters"),
        ("passphrase", (*given, "--old-passphrase-file", old), "no passphrase seals these keys"),
    ):
        assert ask(folder, root, *more) == 64, root
        told = capsys.readouterr().err
        assert "KS-USE-003" in told and said in told and "fix:" in told
    assert asyncio.run(opened_by(folder, key, None)) == [None]


class Killed(BaseException):
    """Nothing of the process goes on."""


def dies_after(original: Callable[..., None]) -> Callable[..., None]:
    """Within the transaction, the row written and not yet committed."""

    def write(*given: Any) -> None:
        original(*given)
        raise Killed

    return write


async def _dies(*_: Any) -> None:
    raise Killed


@pytest.mark.slow
@pytest.mark.parametrize("root", [RootKind.PASSPHRASE, RootKind.KEYFILE])
@pytest.mark.parametrize("at", ["within", "behind"])
async def test_an_end_at_any_moment_leaves_one_of_both(
    tmp_path: Path,
    words: tuple[Path, Path],
    root: RootKind,
    at: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, (old, new) = tmp_path / "keys", words
    (folder / "disk").mkdir(parents=True)
    key = await served(folder, old)
    wanted = new if root is RootKind.PASSPHRASE else None
    with monkeypatch.context() as struck, pytest.raises(Killed):
        if at == "within":
            struck.setattr(store, "write_ring", dies_after(store.write_ring))
        else:
            struck.setattr(AnchorKeeper, "confirm", _dies)
        await reseal(Reseal(folder, root, wanted, old), lambda kind, fields: None)
    left = [old] if at == "within" else [wanted]
    tried = (old, wanted) if wanted else (old if at == "within" else None,)
    assert await opened_by(folder, key, *tried) == left
