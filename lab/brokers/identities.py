"""Who is who in a lab: an nkey for the broker and an X25519 key for sealing, per node.

Under the lab's state folder::

    identity/node/<name>.json      seed and sealing key of a node             0600
    identity/control/<name>.json   seed of supervisor, cli, tap, agent-<n>,
                                   machine-<name>                             0600
    identity/public/<name>.json    public keys of a node: what agents read to seal to it

One file per identity, each written whole or not at all, so the directory grows while agents
read it. An agent needs the files of its own nodes and the public folder.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import nkeys
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from lab.brokers.files import SecretFile, control_folder
from lab.schema.errors import KeysteadError
from protocol.crypto.seal import Keyring
from protocol.errors import InvalidName
from protocol.names import node_name
from protocol.terms import NodeName
from services.runtime.real.files import replace_file

SUPERVISOR = "supervisor"
CLI = "cli"
TAP = "tap"
_CONTROL_NAME = re.compile(
    r"supervisor|cli|tap|agent-[1-9][0-9]{0,5}|machine-[a-z0-9](?:-?[a-z0-9])*"
)


def agent_name(number: int) -> str:
    """Name of the agent of OS process ``number`` (from 1) on the control broker."""
    return control_name(f"agent-{number}")


def machine_agent(machine: str) -> str:
    """Name of the agent of another machine on the control broker."""
    return control_name(f"machine-{machine}")


def control_name(text: str) -> str:
    """``text`` as a name on the control broker; ``ValueError`` for any other."""
    if not _CONTROL_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is none of supervisor, cli, tap, agent-<n>, machine-<name>")
    return text


@dataclass(frozen=True)
class ControlIdentity:
    """An identity that only a broker needs to know. ``public`` is the nkey (``U...``)."""

    name: str
    public: str
    seed: str = field(repr=False)


@dataclass(frozen=True)
class NodeIdentity:
    """A node's own keys; ``public`` is the nkey (``U...``) the data broker knows it by."""

    name: NodeName
    public: str
    seed: str = field(repr=False)
    sealing: X25519PrivateKey = field(repr=False)


class _PublicFile(msgspec.Struct, frozen=True):
    name: str
    nkey: str
    sealing: str


class PublicDirectory(Mapping[NodeName, X25519PublicKey]):
    """Everybody's sealing keys, read when first asked for; grows as hosts are added."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[NodeName, X25519PublicKey] = {}

    def __getitem__(self, name: NodeName) -> X25519PublicKey:
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = _sealing_public(_read_public(self._folder, name).sealing)
        return known

    def __iter__(self) -> Iterator[NodeName]:
        return iter(_names(self._folder))

    def __len__(self) -> int:
        return len(_names(self._folder))


class Identities:
    """All identities of one lab, kept in ``<folder>/identity``."""

    def __init__(self, folder: Path) -> None:
        root = folder / "identity"
        self._nodes = root / "node"
        self._control = control_folder(folder)
        self._public = root / "public"

    @classmethod
    def create(cls, folder: Path, nodes: Iterable[NodeName] = (), agents: int = 0) -> Identities:
        """Make the folders and what is missing of: supervisor, cli, tap, agents, ``nodes``.

        What is there already is kept, so a second call changes nothing.
        """
        made = cls(folder)
        for path in (made._nodes, made._control, made._public):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (SUPERVISOR, CLI, TAP):
            made._add_control(name)
        for number in range(1, agents + 1):
            made.add_agent(number)
        for node in nodes:
            made.add(node)
        return made

    @classmethod
    def load(cls, folder: Path) -> Identities:
        """Identities made earlier; ``KeysteadError`` KS-ID-001 when it has none."""
        made = cls(folder)
        if not any(made._control.glob("*.json")):
            raise KeysteadError("KS-ID-001", f"{folder} holds no identities of a lab")
        return made

    def add(self, node: NodeName) -> NodeIdentity:
        """The node's identity, made now if it has none. ``InvalidName`` for a bad one.

        The public half is written last: who can be sealed to can also open.
        """
        name = node_name(node)
        path = self._nodes / f"{name}.json"
        if not path.exists():
            sealing = X25519PrivateKey.generate()
            raw = base64.b64encode(sealing.private_bytes_raw()).decode()
            _write(path, SecretFile(name, _new_seed(), raw), 0o600)
        identity = self.node(name)
        raw = base64.b64encode(identity.sealing.public_key().public_bytes_raw()).decode()
        public = _PublicFile(name, identity.public, raw)
        try:
            same = _read_public(self._public, name) == public
        except (KeyError, KeysteadError):
            same = False
        if not same:
            _write(self._public / f"{name}.json", public, 0o644)
        return identity

    def adopt(self, kept: Identities, nodes: Iterable[NodeName]) -> None:
        """Have the nkeys of these nodes and of the tap from ``kept``, and sealing keys of our own:
        servers that somebody else runs know them from an earlier lab of this name."""
        for name in nodes:
            path, seed = self._nodes / f"{node_name(name)}.json", kept.node(name).seed
            if not path.exists() or self.node(name).seed != seed:
                raw = X25519PrivateKey.generate().private_bytes_raw()
                _write(path, SecretFile(name, seed, base64.b64encode(raw).decode()), 0o600)
            self.add(name)
        _write(self._control / f"{TAP}.json", SecretFile(TAP, kept.control(TAP).seed), 0o600)

    def add_agent(self, number: int) -> ControlIdentity:
        """Identity of agent ``number``, made now if it has none."""
        return self._add_control(agent_name(number))

    def add_machine(self, machine: str) -> ControlIdentity:
        """Identity of the agent of another machine, made now if it has none."""
        return self._add_control(machine_agent(machine))

    def forget(self, node: NodeName, agent: str) -> None:
        """A node that was not added after all, and its agent; brokers learn of it by a reload."""
        for path in (
            self._public / f"{node_name(node)}.json",
            self._nodes / f"{node_name(node)}.json",
            self._control / f"{control_name(agent)}.json",
        ):
            path.unlink(missing_ok=True)

    def files(self, nodes: Iterable[NodeName], control: Iterable[str]) -> dict[str, bytes]:
        """Path below ``identity/`` and content of the private identities of these, and of all that
        is public; KS-ID-001 when one is missing or damaged."""
        paths = [self._nodes / f"{self.node(name).name}.json" for name in nodes]
        paths += [self._control / f"{self.control(name).name}.json" for name in control]
        paths += sorted(self._public.glob("*.json"))
        return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in paths}

    def renew_keys(self, nodes: Iterable[NodeName], control: Iterable[str]) -> dict[str, bytes]:
        """As ``files``, with new nkeys of all that is private in it; they are valid once they are
        kept (``keep``)."""
        nodes, control = list(nodes), list(control)
        files = self.files(nodes, control)
        for name in nodes:
            path, seed = f"node/{name}.json", _new_seed()
            kept = msgspec.json.decode(files[path], type=SecretFile)
            files[path] = msgspec.json.encode(msgspec.structs.replace(kept, seed=seed))
            public = _PublicFile(name, _public_of(seed), _read_public(self._public, name).sealing)
            files[f"public/{name}.json"] = msgspec.json.encode(public)
        for agent in control:
            files[f"control/{agent}.json"] = msgspec.json.encode(SecretFile(agent, _new_seed()))
        return files

    def keep(self, files: Mapping[str, bytes]) -> None:
        """Let these be the identities (``renewed``); brokers learn of it by a reload."""
        for path, data in files.items():
            mode = 0o644 if path.startswith("public/") else 0o600
            replace_file(self._nodes.parent / path, data, mode=mode, durable=False)

    def node(self, name: NodeName) -> NodeIdentity:
        """Private keys of a node; ``KeysteadError`` KS-ID-001 when missing or damaged."""
        kept = _read(self._nodes / f"{node_name(name)}.json", name)
        try:
            raw = base64.b64decode(kept.sealing, validate=True)
            sealing = X25519PrivateKey.from_private_bytes(raw)
        except (ValueError, binascii.Error):
            raise _damage_error(self._nodes / f"{name}.json") from None
        return NodeIdentity(name, _public_of(kept.seed), kept.seed, sealing)

    def control(self, name: str) -> ControlIdentity:
        """Identity of supervisor, cli, tap or an agent; ``KeysteadError`` KS-ID-001 as above."""
        kept = _read(self._control / f"{control_name(name)}.json", name)
        return ControlIdentity(name, _public_of(kept.seed), kept.seed)

    def keyring(self, node: NodeName) -> Keyring:
        """What the node's bus port seals and opens with."""
        return Keyring(self.node(node).sealing, self.directory())

    def directory(self) -> PublicDirectory:
        """Everybody's public sealing keys."""
        return PublicDirectory(self._public)

    def node_nkeys(self) -> tuple[tuple[NodeName, str], ...]:
        """(name, nkey) of every node, sorted by name: the users of the data broker."""
        return tuple((name, _read_public(self._public, name).nkey) for name in _names(self._public))

    def control_nkeys(self) -> tuple[tuple[str, str], ...]:
        """(name, nkey) of every control identity, sorted by name."""
        return tuple((name, self.control(name).public) for name in _names(self._control))

    def _add_control(self, name: str) -> ControlIdentity:
        path = self._control / f"{control_name(name)}.json"
        if not path.exists():
            _write(path, SecretFile(name, _new_seed()), 0o600)
        return self.control(name)


def _new_seed() -> str:
    seed: bytes = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    return seed.decode()


def _public_of(seed: str) -> str:
    public: bytes = nkeys.from_seed(seed.encode()).public_key
    return public.decode()


def _sealing_public(text: str) -> X25519PublicKey:
    return X25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))


def _names(folder: Path) -> list[NodeName]:
    return sorted(NodeName(path.stem) for path in folder.glob("*.json"))


def _damage_error(path: Path) -> KeysteadError:
    return KeysteadError("KS-ID-001", f"the identity file {path} is missing or damaged")


def _read(path: Path, name: str) -> SecretFile:
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=SecretFile)
        # The library checks no checksum when it reads a seed, so it is encoded again.
        prefix, raw = nkeys.decode_seed(kept.seed.encode())
        if prefix != nkeys.PREFIX_BYTE_USER or nkeys.encode_seed(raw, prefix) != kept.seed.encode():
            raise _damage_error(path)
    except (OSError, ValueError, msgspec.DecodeError, nkeys.NkeysError):
        raise _damage_error(path) from None
    if kept.name != name:
        raise _damage_error(path)
    return kept


def _read_public(folder: Path, name: str) -> _PublicFile:
    """``KeyError`` when there is no such node."""
    try:
        data = (folder / f"{node_name(name)}.json").read_bytes()
    except (FileNotFoundError, InvalidName):
        raise KeyError(name) from None
    try:
        return msgspec.json.decode(data, type=_PublicFile)
    except msgspec.DecodeError:
        raise _damage_error(folder / f"{name}.json") from None


def _write(path: Path, content: msgspec.Struct, mode: int) -> None:
    replace_file(path, msgspec.json.encode(content), mode=mode, durable=False)
