"""A stored run tells what was said on its bus."""

from __future__ import annotations

from io import BytesIO

import msgspec
import pytest

from chaos.conversation import ConversationEnd, Said, conversation
from chaos.history import pack
from lab.cli.experiments.stored_runs import tap
from lab.cli.invocation import Format
from lab.cli.options import Options
from lab.local.stored.runs import MessageFilter, read_conversation
from lab.play import play
from lab.play.prepare import begin, prepare
from lab.runs.store import RunFolder
from lab.schema.errors import KeysteadError
from tests.lab.runs.test_runs import SHORT

pytestmark = pytest.mark.sim


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYSTEAD_STATE_HOME", str(home))
        (home / "short.yaml").write_text(SHORT)
        prepared = prepare(str(home / "short.yaml"), 5, {"tpm": "model"})
        folder = begin(prepared, "sim")
        play.play_sim(prepared, folder)
    return folder


@pytest.fixture(autouse=True)
def home(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(run.path.parents[1]))


def said(run: RunFolder, wanted: MessageFilter) -> list[Said]:
    return [one for one in read_conversation(run.run, wanted) if isinstance(one, Said)]


def test_all_that_was_said_is_there_and_its_end_counts_it(run: RunFolder) -> None:
    *whole, end = read_conversation(run.run, MessageFilter())
    assert end == ConversationEnd(messages=len(whole), dropped=0, gaps=0)
    assert len(whole) > 4
    assert {one.kind for one in whole if isinstance(one, Said)} >= {"request", "reply"}
    requests = {(m.src, m.dst, m.id) for m in said(run, MessageFilter()) if m.kind == "request"}
    replies = {
        (m.dst, m.src, m.id) for m in said(run, MessageFilter()) if m.kind in ("reply", "error")
    }
    assert len(replies & requests) > len(requests) / 2


def test_it_is_asked_for_a_node_a_message_and_a_time(run: RunFolder) -> None:
    whole = said(run, MessageFilter())
    of_kms = said(run, MessageFilter(node="kms"))
    assert 0 < len(of_kms) < len(whole)
    assert all("kms" in (one.src, one.dst) for one in of_kms)
    looks = said(run, MessageFilter(message="CheckForUpdates"))
    assert {one.name for one in looks} == {"CheckForUpdates", "UpdateSet"}
    part = said(run, MessageFilter(after_s=10.0, until_s=20.0))
    assert part == [one for one in whole if 10.0 <= one.t <= 20.0]
    assert part


def test_the_command_prints_it(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    tap(run.run, message="CheckForUpdates")
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert "vcenter -> esxi-001  CheckForUpdates #" in first
    assert "esxi-001 => vcenter  UpdateSet #" in second
    tap(run.run, message="CheckForUpdates", options=Options(output=Format.WIDE))
    assert max(map(len, capsys.readouterr().out.splitlines())) > len(second)
    tap(run.run, message="CheckForUpdates", options=Options(output=Format.JSON))
    lines = capsys.readouterr().out.splitlines()
    assert msgspec.json.decode(lines[0])["name"] == "CheckForUpdates"
    tap(run.run, message="CheckForUpdates", options=Options(output=Format.NAME))
    assert set(capsys.readouterr().out.split()) == {"CheckForUpdates", "UpdateSet"}


def test_what_cannot_be_told_is_refused(run: RunFolder) -> None:
    with pytest.raises(KeysteadError, match="no message is called Hello") as caught:
        read_conversation(run.run, MessageFilter(message="Hello"))
    assert caught.value.id == "KS-USE-002"
    with pytest.raises(KeysteadError) as caught:
        read_conversation("no-such-run", MessageFilter())
    assert caught.value.id == "KS-RUN-001"
    with pytest.raises(KeysteadError, match=r"no node kmz spoke .* did you mean kms\?") as caught:
        tap(run.run, node="kmz")
    assert caught.value.id == "KS-USE-002"
    with pytest.raises(KeysteadError, match="a time needs a unit"):
        tap(run.run, after="5")


def test_what_is_missing_in_it_is_told(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """A recording that was full, one with gaps, one that was cut off, and one that is not there."""
    whole = run.bus.read_bytes()
    try:
        *_, end = conversation(BytesIO(whole))
        assert isinstance(end, ConversationEnd)
        mine = pack(msgspec.structs.asdict(end))
        worse = pack({**msgspec.structs.asdict(end), "dropped": 3, "gaps": 2})
        run.bus.write_bytes(whole.removesuffix(mine) + worse)
        tap(run.run, message="CheckForUpdates")
        told_of = capsys.readouterr().err
        assert "its last 3 messages are missing" in told_of
        assert "lost its link 2 times" in told_of
        run.bus.write_bytes(b"\xc1" + whole)
        with pytest.raises(KeysteadError, match="record 1: no record: these bytes are no msgpack"):
            tap(run.run)
        run.bus.write_bytes(whole.removesuffix(mine))
        with pytest.raises(KeysteadError, match="the end is missing"):
            tap(run.run)
        run.bus.unlink()
        with pytest.raises(KeysteadError, match="has no recording"):
            tap(run.run)
    finally:
        run.bus.write_bytes(whole)
