"""The part of a bundle for a host that comes later: what is in it, who opens it, and what not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from lab.brokers.identities import Identities
from lab.machines.bundle import MachinePart, part_of, read, seal_part, unseal_part
from lab.machines.issuing import issue
from lab.members.holding import JoinedFolder
from lab.state.state_folder import LabFolder
from protocol.crypto.transfer import OneTimeKey
from protocol.errors import CryptographicFailure, InvalidArgument, Malformed
from protocol.terms import NodeName

NEW = NodeName("esxi-003")


@pytest.fixture
def part(folder: LabFolder) -> MachinePart:
    identities = Identities.load(folder.path)
    identities.add(NEW)
    identities.add_agent(5)
    return part_of(identities, "far", "east", "agent-5", (NEW,))


def test_it_has_what_is_private_of_the_host_and_nothing_of_others(
    part: MachinePart, folder: LabFolder
) -> None:
    assert sorted(part.files) == [
        "identity/control/agent-5.json",
        "identity/node/esxi-003.json",
    ]
    whole = msgspec.msgpack.encode(part)
    for path in (folder.path / "identity").glob("*/*.json"):
        name = f"{path.parent.name}/{path.stem}"
        secret = msgspec.json.decode(path.read_bytes()).get("seed", "").encode()
        if secret:
            assert (secret in whole) == (name in ("node/esxi-003", "control/agent-5")), name


def test_only_the_run_that_it_is_for_opens_it(part: MachinePart) -> None:
    key = OneTimeKey()
    box = seal_part(part, "r1", key.public)
    assert not [data for data in part.files.values() if data in box]
    assert unseal_part(box, "r1", key, "far", "east") == part
    for run, other in (("r2", key), ("r1", OneTimeKey())):
        with pytest.raises(CryptographicFailure):
            unseal_part(box, run, other, "far", "east")
    with pytest.raises(InvalidArgument):
        seal_part(part, "r1", b"")  # an agent that told no key


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"machine": "west"}, "is for machine west"),
        ({"lab": "near"}, "of the lab near"),
        ({"nodes": ()}, "other files than it says"),
        ({"nodes": ("../../tmp/x",)}, "other files|no part"),
        ({"agent": "supervisor"}, "other files than it says"),
        ({"agent": "machine-east"}, "other files than it says"),
        ({"agent": "../agent-5"}, "no part of a bundle"),
        ({"files": {"identity/node/../../x": b""}}, "other files than it says"),
    ],
)
def test_what_names_more_than_it_is_for_is_refused(
    part: MachinePart, change: dict[str, Any], told: str
) -> None:
    key = OneTimeKey()
    box = seal_part(msgspec.structs.replace(part, **change), "r1", key.public)
    with pytest.raises(Malformed, match=told):
        unseal_part(box, "r1", key, "far", "east")


def test_an_agent_that_is_started_again_has_it(
    part: MachinePart, folder: LabFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue("far", "east", tmp_path / "bundle", "", 60.0)
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path / "far-away"))
    for kept in (False, True):
        joined = JoinedFolder(read(tmp_path / "bundle"))
        if not kept:
            joined.keep(part)
        identities = Identities.load(joined.path)
        own = Identities.load(folder.path)
        assert identities.node(NEW).seed == own.node(NEW).seed
        assert identities.control("agent-5").seed == own.control("agent-5").seed
        joined.close()
