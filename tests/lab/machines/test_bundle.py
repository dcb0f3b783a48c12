"""The file that a machine joins with: what is in it, what is not, and who may use it."""

from __future__ import annotations

import asyncio
import fcntl
import io
import json
import resource
import socket
import stat
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from lab.brokers.identities import ControlIdentity, Identities, NodeIdentity
from lab.machines.bundle import Bundle, identity_files, pack_bundle, read
from lab.machines.issuing import issue, use
from lab.members import joining
from lab.members.holding import JoinedFolder, _holder
from lab.schema.errors import KeysteadError
from lab.state.scratch import LOCK
from lab.state.state_folder import LabFolder
from lab.topology.machine_plan import SharedArray
from protocol.messages.machines import MachineSeeks
from protocol.terms import NodeName


def bundle_of(folder: LabFolder, file: Path, **how: float) -> Bundle:
    issue(folder.name, "east", file, "", how.get("good_for_s", 60.0))
    return read(file)


def seeks(bundle: Bundle, holder: str = "h1") -> MachineSeeks:
    manifest = bundle.manifest
    return MachineSeeks(
        machine=manifest.machine, bundle=manifest.id, digest=bundle.digest, holder=holder, run="r"
    )


def test_it_has_what_the_machine_may_know_and_no_byte_of_others(
    folder: LabFolder, tmp_path: Path
) -> None:
    file = tmp_path / "east.bundle"
    bundle = bundle_of(folder, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert bundle.manifest.nodes == ("esxi-002",)
    own = {"node/esxi-002", "control/agent-4", "control/machine-east"}
    data, others = file.read_bytes(), 0
    for path in (folder.path / "identity").glob("*/*.json"):
        name = f"{path.parent.name}/{path.stem}"
        kept = json.loads(path.read_bytes())
        secrets = [kept["seed"], kept["sealing"]] if "seed" in kept else []
        for secret in filter(None, secrets):
            assert (secret.encode() in data) == (name in own), name
            others += name not in own
    assert others >= 2 * 3 + 6, "nodes with two secrets each; agents, cli, tap, supervisor"
    assert (folder.path / "tls-proxy" / "proxy.key").read_bytes()[60:120] not in data
    assert {path.stem for path in (folder.path / "identity" / "public").glob("*")} == {
        name.split("/")[2].removesuffix(".json")
        for name in bundle.files
        if name.startswith("identity/public/")
    }, "to seal to others, it has the public halves of all"


def test_every_damage_is_seen(folder: LabFolder, tmp_path: Path) -> None:
    file, bad = tmp_path / "east.bundle", tmp_path / "bad.bundle"
    whole = bundle_of(folder, file)
    data = file.read_bytes()
    places = [at for at in range(0, len(data), 23) if data[at : at + 1] != b"\0"]
    assert len(places) > 50
    for at in places:
        bad.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        try:
            found = read(bad)
        except KeysteadError as error:
            assert error.id == "KS-AGENT-002"
        else:  # a byte of the archive's own, such as a time: the whole file's digest tells
            assert (found.manifest, found.files) == (whole.manifest, whole.files)
            assert found.digest != whole.digest
    for cut in (0, 100, 512, 3000):
        bad.write_bytes(data[:cut])
        with pytest.raises(KeysteadError) as refused:
            read(bad)
        assert refused.value.id == "KS-AGENT-002"


def test_links_and_twins_in_an_archive_are_none_of_a_bundle(tmp_path: Path) -> None:
    file = tmp_path / "evil"
    with tarfile.open(file, "w") as archive:
        entry = tarfile.TarInfo("manifest.json")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    with pytest.raises(KeysteadError, match="no bundle"):
        read(file)


@pytest.mark.parametrize(
    "changes",
    [
        {"nodes": ("../../../../stolen",)},
        {"nodes": ("a/../../node/b",)},
        {"nodes": ("esxi-002", "esxi-001")},  # its identity is not there
        {"agents": ("machine-east", "../supervisor")},
        {"agents": ()},
        {"lab": ".."},
        {"machine": "../east"},
        {"machine": "west"},  # without the identity of that agent
        {"address": "192.0.2.7"},
        {"address": "user@host/path:1"},
        {"layout": 1},
        {"shared": (SharedArray("../../etc"),)},
    ],
)
def test_who_makes_its_digest_anew_leads_nobody_elsewhere(
    folder: LabFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    bundle, evil = bundle_of(folder, tmp_path / "one"), tmp_path / "evil"
    manifest = msgspec.structs.replace(bundle.manifest, **changes)
    more = {f"identity/node/{node}.json": b"{}" for node in changes.get("nodes", ()) if "/" in node}
    evil.write_bytes(pack_bundle(manifest, {**bundle.files, **more}))
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path / "far-away"))
    with pytest.raises(KeysteadError) as refused:
        JoinedFolder(read(evil))
    assert refused.value.id == "KS-AGENT-002"
    assert not list(tmp_path.rglob("stolen*")) and not (tmp_path / "far-away").exists()


@pytest.mark.parametrize(
    ("field", "longest", "other"),
    [("nodes", 48, "here"), ("lab", 40, "all"), ("shared", 80, "East.1"), ("machine", 40, "all")],
)
def test_a_name_may_be_as_long_as_its_kind_allows(
    folder: LabFolder, tmp_path: Path, field: str, longest: int, other: str
) -> None:
    """And a word that is taken for one kind of name is free for the others."""
    bundle, file = bundle_of(folder, tmp_path / "one"), tmp_path / "other"

    def read_with(name: str) -> Any:
        values = {"nodes": (name,), "shared": (SharedArray(name),)}
        changed: dict[str, Any] = {field: values.get(field, name)}
        agents = (f"machine-{name}",) if field == "machine" else bundle.manifest.agents
        manifest = msgspec.structs.replace(bundle.manifest, agents=agents, **changed)
        identities = dict.fromkeys(identity_files(manifest), b"{}")
        file.write_bytes(pack_bundle(manifest, {**bundle.files, **identities}))
        return getattr(read(file).manifest, field)

    for name in ("a" * longest, other):
        assert read_with(name) in (name, (name,), (SharedArray(name),))
    for name in ("a" * (longest + 1), ""):
        with pytest.raises(KeysteadError) as refused:
            read_with(name)
        assert refused.value.id == "KS-AGENT-002"


def test_a_file_with_holes_does_not_fill_the_memory(tmp_path: Path) -> None:
    file = tmp_path / "holes"
    with tarfile.open(file, "w", format=tarfile.GNU_FORMAT) as archive:
        entry = tarfile.TarInfo("manifest.json")
        entry.size = 512
        archive.addfile(entry, io.BytesIO(b"{}".ljust(512)))
    data = bytearray(file.read_bytes())
    data[156:157] = tarfile.GNUTYPE_SPARSE
    data[386 : 386 + 24] = b"00000000000\0" + b"00000001000\0"  # its one piece
    data[483:495] = b"77777777777\0"  # 8 GiB, nearly all of them a hole
    data[148:156] = b" " * 8
    data[148:156] = f"{sum(data[:512]):06o}".encode() + b"\0 "
    file.write_bytes(data)
    with tarfile.open(file) as archive:
        assert next(iter(archive)).size == 8**11 - 1, "it is one with a hole"
    with pytest.raises(KeysteadError, match="no bundle"):
        read(file)


def test_a_disk_that_fills_leaves_no_half_of_a_bundle(folder: LabFolder, tmp_path: Path) -> None:
    file = tmp_path / "one"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # in the middle of it
    try:
        with pytest.raises(KeysteadError) as refused:
            issue("far", "east", file, "", 60.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert refused.value.id == "KS-OUT-001" and not file.exists()
    issue("far", "east", file, "", 60.0)


def test_agents_that_are_the_first_ones_at_once_are_of_one_machine(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as several:
        agents = [tmp_path] * 8
        assert len(set(several.map(_holder, agents))) == 1


def test_a_bundle_is_for_one_machine_and_may_be_used_again_there(
    folder: LabFolder, tmp_path: Path
) -> None:
    bundle = bundle_of(folder, tmp_path / "one")
    now = bundle.manifest.issued
    use(folder.path, seeks(bundle), now)
    use(folder.path, seeks(bundle), now + 3600)  # its agent was started again, much later
    with pytest.raises(KeysteadError, match="used on another machine") as refused:
        use(folder.path, seeks(bundle, "h2"), now)
    assert refused.value.id == "KS-AGENT-004"


def test_a_bundle_out_of_date_edited_or_replaced_is_refused(
    folder: LabFolder, tmp_path: Path
) -> None:
    bundle = bundle_of(folder, tmp_path / "one", good_for_s=60.0)
    now = bundle.manifest.issued
    with pytest.raises(KeysteadError, match="out of date"):
        use(folder.path, seeks(bundle), now + 61)
    later = msgspec.structs.replace(bundle.manifest, expires=now + 1e6)
    edited = tmp_path / "edited"
    edited.write_bytes(pack_bundle(later, bundle.files))
    with pytest.raises(KeysteadError, match="not as this lab wrote it"):
        use(folder.path, seeks(read(edited)), now)  # by somebody who made its digest anew
    newer = bundle_of(folder, tmp_path / "two")
    with pytest.raises(KeysteadError, match="a newer one has taken its place"):
        use(folder.path, seeks(bundle), now)
    use(folder.path, seeks(newer), newer.manifest.issued)


def test_a_newer_bundle_has_other_nkeys_and_those_before_are_none_of_the_labs(
    folder: LabFolder, tmp_path: Path
) -> None:
    identities, node = Identities.load(folder.path), NodeName("esxi-002")

    def held() -> list[NodeIdentity | ControlIdentity]:
        agents = ("machine-east", "agent-4")
        return [identities.node(node), *map(identities.control, agents)]

    def others() -> list[str]:
        return [identities.node(NodeName("kms")).public, identities.control("supervisor").public]

    first, before, same = bundle_of(folder, tmp_path / "one"), held(), others()
    sealing = identities.node(node).sealing.private_bytes_raw()
    newer, after = bundle_of(folder, tmp_path / "two"), held()
    assert all(old.public != new.public for old, new in zip(before, after, strict=True))
    assert dict(identities.node_nkeys())[node] == after[0].public, "the brokers' list"
    assert identities.node(node).sealing.private_bytes_raw() == sealing
    for bundle, has in ((first, before), (newer, after)):
        text = b"".join(bundle.files.values()).decode()
        assert all(one.seed in text for one in has)
    assert others() == same
    with pytest.raises(KeysteadError):
        issue("far", "east", tmp_path / "missing" / "three", "", 60.0)
    assert [one.public for one in held()] == [one.public for one in after], "no bundle, no change"


@pytest.mark.parametrize(
    ("machine", "file", "at", "error_id"),
    [
        ("west", "new", "", "KS-AGENT-003"),
        ("east", "there", "", "KS-USE-003"),
        ("east", "new", "nowhere", "KS-USE-003"),
        ("east", "missing/new", "", "KS-OUT-001"),
    ],
)
def test_what_is_not_written(
    folder: LabFolder, tmp_path: Path, machine: str, file: str, at: str, error_id: str
) -> None:
    (tmp_path / "there").write_text("mine")
    with pytest.raises(KeysteadError) as refused:
        issue("far", machine, tmp_path / file, at, 60.0)
    assert refused.value.id == error_id and refused.value.fix
    assert (tmp_path / "there").read_text() == "mine"


def test_a_lab_that_listens_everywhere_is_asked_where_that_is(
    folder: LabFolder, tmp_path: Path
) -> None:
    (folder.path / "tls-proxy" / "address.json").write_text('{"host":"0.0.0.0","port":4333}')
    with pytest.raises(KeysteadError, match="no address to go to"):
        issue("far", "east", tmp_path / "one", "", 60.0)
    made = issue("far", "east", tmp_path / "one", "192.0.2.7:0", 60.0)
    assert made.address == "192.0.2.7:4333"
    (folder.path / "tls-proxy" / "address.json").unlink()
    with pytest.raises(KeysteadError, match="does not listen yet"):
        issue("far", "east", tmp_path / "two", "", 60.0)


def test_a_folder_has_one_agent_and_stays_on_its_machine(
    folder: LabFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_of(folder, tmp_path / "one")
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path / "far-away"))
    first = JoinedFolder(bundle)
    with pytest.raises(KeysteadError, match="runs here already") as refused:
        JoinedFolder(bundle)
    assert refused.value.id == "KS-AGENT-005"
    first.close()
    again = JoinedFolder(bundle)
    assert again.holder == first.holder
    again.close()
    (tmp_path / "far-away" / "agents" / "holder").write_text("another machine's")
    with pytest.raises(KeysteadError, match="brought here from another machine") as refused:
        JoinedFolder(bundle)
    assert refused.value.id == "KS-AGENT-009"


@pytest.mark.slow
async def test_a_lab_that_is_not_there_is_told(folder: LabFolder, tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # it does not listen
        at = {"host": "127.0.0.1", "port": nobody.getsockname()[1]}
        (folder.path / "tls-proxy" / "address.json").write_text(json.dumps(at))
        bundle = bundle_of(folder, tmp_path / "east.bundle")
        joined = JoinedFolder(bundle)
        holding: Any = SimpleNamespace(page=SimpleNamespace(supervisor_time=time.monotonic))
        with pytest.raises(KeysteadError, match="the lab far is not reached") as refused:
            await joining._open_client(bundle, joined, f"nats://{bundle.manifest.address}", holding)
        joined.close()
    assert refused.value.id == "KS-AGENT-006"


async def test_a_look_at_its_health_does_not_keep_an_agent_from_its_folder(
    folder: LabFolder, tmp_path: Path
) -> None:
    """``keystead healthcheck`` shares the lock of each folder for a moment."""
    bundle = bundle_of(folder, tmp_path / "east.bundle")
    first = JoinedFolder(bundle)
    first.close()
    with (first.path / LOCK).open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        opening = asyncio.create_task(asyncio.to_thread(JoinedFolder, bundle))
        await asyncio.sleep(0.05)
        assert not opening.done(), "it waits"
        fcntl.flock(looking, fcntl.LOCK_UN)
        joined = await opening
        joined.close()
        fcntl.flock(looking, fcntl.LOCK_SH)
        with pytest.raises(KeysteadError, match="runs here already"):
            await asyncio.to_thread(JoinedFolder, bundle)
