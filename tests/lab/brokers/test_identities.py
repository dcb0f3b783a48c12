"""Identities on disk: made once, private, complete, and growing under readers."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from lab.brokers.identities import CLI, SUPERVISOR, TAP, Identities, agent_name, control_name
from lab.schema.errors import KeysteadError
from protocol.codec import VERSION, Envelope, encode_message
from protocol.crypto.seal import Sealing, without_keys
from protocol.errors import InvalidName, Malformed
from protocol.messages.base import Sealed
from protocol.messages.host.crypto import AddKeys
from protocol.secret import KeyMaterial
from protocol.terms import NodeName

A, B, C = NodeName("a"), NodeName("esxi-001"), NodeName("kms-1")


def test_created_once_and_kept(tmp_path: Path) -> None:
    first = Identities.create(tmp_path, [A, B], agents=2)
    again = Identities.create(tmp_path, [B, A, C], agents=3)
    loaded = Identities.load(tmp_path)
    assert loaded.node(A).seed == first.node(A).seed == again.node(A).seed
    assert loaded.node(A).sealing.private_bytes_raw() == first.node(A).sealing.private_bytes_raw()
    assert [name for name, _ in loaded.node_nkeys()] == [A, B, C]
    assert [name for name, _ in loaded.control_nkeys()] == [
        *("agent-1", "agent-2", "agent-3"),
        *(CLI, SUPERVISOR, TAP),
    ]
    nkeys = [key for _, key in (*loaded.node_nkeys(), *loaded.control_nkeys())]
    assert len(set(nkeys)) == len(nkeys)
    assert all(key.startswith("U") and len(key) == 56 for key in nkeys)


def test_private_files_are_private_and_public_ones_hold_nothing_private(tmp_path: Path) -> None:
    made = Identities.create(tmp_path, [A], agents=1)
    files = [path for path in (tmp_path / "identity").rglob("*") if path.is_file()]
    assert len(files) == 6
    for path in files:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0 or path.parent.name == "public", path
    node = made.node(A)
    private = json.loads((tmp_path / "identity/node/a.json").read_text())
    public = (tmp_path / "identity/public/a.json").read_text()
    assert private["seed"] == node.seed
    assert private["seed"] not in public
    assert private["sealing"] not in public
    assert node.public in public
    assert node.seed not in repr(node) and "X25519" not in repr(node)


@pytest.mark.parametrize(
    "name",
    ["*", ">", "a.b", "", "A", "-a", "a-", "a--b", "a b", "../a", "a/b", "a\n", "x" * 49, "é"],
)
def test_names_the_broker_could_misread_are_refused(tmp_path: Path, name: str) -> None:
    made = Identities.create(tmp_path)
    with pytest.raises(InvalidName, match="node name"):
        made.add(NodeName(name))
    assert made.node_nkeys() == ()
    with pytest.raises(InvalidName, match="node name"):
        made.node(NodeName(name))


@pytest.mark.parametrize("name", ["agent-0", "agent-", "agent-x", "root", "supervisor ", "*", ""])
def test_control_names_are_a_closed_list(name: str) -> None:
    with pytest.raises(ValueError, match="none of"):
        control_name(name)
    assert agent_name(12) == "agent-12"


def test_the_public_directory_grows_under_its_readers(tmp_path: Path) -> None:
    made = Identities.create(tmp_path, [A])
    reader = Identities.load(tmp_path).directory()
    assert list(reader) == [A]
    with pytest.raises(KeyError):
        reader[B]
    made.add(B)
    key = made.node(B).sealing.public_key().public_bytes_raw()
    assert reader[B].public_bytes_raw() == key
    assert sorted(reader) == [A, B]
    assert len(reader) == 2
    with pytest.raises(KeyError):
        reader[NodeName("../node/a")]


def test_what_is_sealed_to_a_node_opens_with_its_keyring_only(tmp_path: Path) -> None:
    made = Identities.create(tmp_path, [A, B, C])
    material = Sealed.of(KeyMaterial(bytes(range(32))))
    message = AddKeys(session="s", number=1, keys=(), material=material)
    boxed = without_keys(message)
    envelope = Envelope(VERSION, 7, "", A, 1, 0.0, "AddKeys", encode_message(boxed))
    a, b = [Sealing(node, 1, made.keyring(node), lambda: 0.0) for node in (A, B)]
    sealed = a.seal_keys(envelope, message, B)
    assert b.unseal_keys(sealed, boxed) == message
    with pytest.raises(Malformed):
        Sealing(B, 1, made.keyring(C), lambda: 0.0).unseal_keys(sealed, boxed)


@pytest.mark.parametrize("damage", ["missing", "empty", "other name", "bad seed", "bad key"])
def test_damage_is_named_with_the_file(tmp_path: Path, damage: str) -> None:
    made = Identities.create(tmp_path, [A])
    path = tmp_path / "identity/node/a.json"
    content = json.loads(path.read_text())
    match damage:
        case "missing":
            path.unlink()
        case "empty":
            path.write_text("")
        case "other name":
            path.write_text(json.dumps(content | {"name": "b"}))
        case "bad seed":
            path.write_text(json.dumps(content | {"seed": "SU" + "A" * 56}))
        case "bad key":
            path.write_text(json.dumps(content | {"sealing": "AAAA"}))
    with pytest.raises(KeysteadError, match=r"a\.json") as caught:
        made.node(A)
    assert caught.value.id == "KS-ID-001"
    assert content["seed"] not in str(caught.value)


def test_a_folder_without_identities_is_no_lab(tmp_path: Path) -> None:
    with pytest.raises(KeysteadError) as caught:
        Identities.load(tmp_path)
    assert caught.value.id == "KS-ID-001"


def test_an_interrupted_write_leaves_no_identity(tmp_path: Path) -> None:
    """A temporary file that a kill left behind is not taken for a node."""
    made = Identities.create(tmp_path, [A])
    (tmp_path / "identity/public/.b.json.123").write_text("{")
    assert [name for name, _ in made.node_nkeys()] == [A]
    made.add(NodeName("b"))
    assert [name for name, _ in made.node_nkeys()] == [A, NodeName("b")]
