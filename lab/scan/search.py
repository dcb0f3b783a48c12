"""Finding secrets in bytes, whatever they are written as: where they may lie and why, the places
that a lab of real processes leaves bytes in, a lab that is watched from its first message on,
and what a search came to.
"""

from __future__ import annotations

import base64
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key

from chaos.history import History
from protocol.kmip.enums import KmipError
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import parse

PIECE = 16


@dataclass(frozen=True)
class SearchedPlace:
    """Bytes of one place; ``kind`` is the sort of place, ``name`` tells it from its like."""

    kind: str
    name: str
    data: bytes


class Find(msgspec.Struct, frozen=True):
    """A piece of the secret ``secret`` (who made it) in a place, in a form; ``offset`` in bytes
    where it stands there first."""

    kind: str
    name: str
    secret: str
    form: str
    offset: int = 0


def pieces(secret: bytes) -> list[bytes]:
    """Pieces of 16 bytes; the last one may overlap the one before it. None of a shorter one."""
    if len(secret) < PIECE:
        return []
    starts = [*range(0, len(secret) - PIECE + 1, PIECE), len(secret) - PIECE]
    return [secret[start : start + PIECE] for start in dict.fromkeys(starts)]


def secret_parts(secret: bytes) -> list[bytes]:
    """What of it is secret: all, or of a private key as PKCS#8 its private numbers, for the public
    key stands in there too, and in certificates; of an item of KMIP what is hidden in it, for ids
    and names stand beside that, and elsewhere."""
    hidden = _find_hidden(secret)
    if hidden is not None:
        return hidden
    if secret[:1] != b"\x30":
        return [secret]
    try:
        key = load_der_private_key(secret, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return [secret]
    if isinstance(key, EllipticCurvePrivateKey):
        return [key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8)]
    if isinstance(key, RSAPrivateKey):
        numbers = key.private_numbers()
        return [
            number.to_bytes((number.bit_length() + 7) // 8)
            for number in (numbers.d, numbers.p, numbers.q)
        ]
    return [secret]


_HIDDEN: Final = (Tag.KEY_MATERIAL, Tag.KEY, Tag.KEY_VALUE, Tag.PASSWORD, Tag.DATA)
"""Tags under which bytes or a text are a key, a password, or what somebody encrypts."""


def _find_hidden(secret: bytes) -> list[bytes] | None:
    """Values under those tags in an item of KMIP, such as a message that one key server hands on to
    another; None for what is none."""
    if secret[:2] != b"\x42\x00":
        return None
    try:
        waiting = [parse(secret)]
    except KmipError:
        return None
    found: list[bytes] = []
    while waiting:
        node = waiting.pop()
        waiting += node.items()
        if node.tag in _HIDDEN and isinstance(node.value, bytes | str):
            found.append(node.value if isinstance(node.value, bytes) else node.value.encode())
    return found


def forms(piece: bytes) -> Iterator[tuple[str, bytes]]:
    """What the piece may be written as, by the name of the form."""
    yield "raw", piece
    yield "backwards", piece[::-1]
    yield "hex", piece.hex().encode()
    yield "HEX", piece.hex().upper().encode()
    for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
        for before in range(3):
            # Characters that also depend on the bytes beside the piece are left out.
            text = encode(bytes(before) + piece)
            yield name, text[-(-before * 8 // 6) : (before + PIECE) * 8 // 6]
    shown = repr(piece)[2:-1].encode()
    yield "repr", shown
    yield "repr in JSON", shown.replace(b"\\", b"\\\\")


class Needles:
    """All forms of all secrets, by the words they may cover."""

    def __init__(self, secrets: Mapping[bytes, str]) -> None:
        self._all: dict[bytes, tuple[str, str]] = {}
        for secret, kind in secrets.items():
            for piece in (piece for part in secret_parts(secret) for piece in pieces(part)):
                if len(set(piece)) < 4:
                    continue  # padding and the like are no secret
                for form, needle in forms(piece):
                    self._all.setdefault(needle, (kind, form))
        self._words: dict[int, list[bytes]] = {}
        for needle in self._all:
            for start in range(8):
                word = int.from_bytes(needle[start : start + 8], sys.byteorder)
                self._words.setdefault(word, []).append(needle)

    def __len__(self) -> int:
        """How many forms of pieces are looked for."""
        return len(self._all)

    def find(self, place: SearchedPlace) -> Iterator[Find]:
        """What stands in the place."""
        data = place.data + bytes(-len(place.data) % 8)
        there = self._words.keys() & set(memoryview(data).cast("Q"))
        seen: set[bytes] = set()
        for word in there:
            for needle in self._words[word]:
                offset = -1 if needle in seen else place.data.find(needle)
                if offset >= 0:
                    seen.add(needle)
                    secret, form = self._all[needle]
                    yield Find(place.kind, place.name, secret, form, offset)


def search(secrets: Mapping[bytes, str], places: Iterable[SearchedPlace]) -> list[Find]:
    """Every secret that is found anywhere; ``secrets`` maps bytes to who made them."""
    needles = Needles(secrets)
    return [found for place in places for found in needles.find(place)]


@dataclass(frozen=True)
class Exempt:
    """``kind`` and ``name`` of the place and ``secret`` (who made it) are patterns."""

    kind: str
    name: str
    secret: str
    why: str


EXEMPT = (
    Exempt(
        "disk",
        r"(kms[^/]*|k\d)/.*master\.key(\.new)?",
        r"services\.kms\.sealing\.roots\.keyfile:.*",
        "a software key server keeps its master key on its own disk, beside its database",
    ),
    Exempt(
        "disk",
        r".*/bootbank/state\.tgz(\.new)?",
        r"services\.esxi\.configuration\.sealing:derive_config_key",
        "mode NONE: the config key is made from material that lies beside it (CFG-03)",
    ),
    Exempt(
        "disk",
        r"copies/(kms[^/]*|k\d)/.*master\.key(\.new)?",
        r"services\.kms\.sealing\.roots\.keyfile:.*",
        "the backup of a key server's disk that the cure of kms.key_state puts back",
    ),
    Exempt(
        "disk",
        r".*symkey\.dat(\.new)?",
        r"services\.vcenter\.providers\.stored_secrets:_from_material",
        "vCenter keeps the key of its KDKs beside its database, as the product does (NKP-08)",
    ),
    Exempt(
        "disk",
        r"(copies/)?(kms[^/]*|k\d)/.*kmip-identity(\.new)?",
        r"protocol\.crypto\.certificates:.*|services\.runtime\.node_certificates:.*",
        "a key server keeps the key of its certificate on its own disk, as a software identity is",
    ),
    Exempt(
        "disk",
        r"keyprovider-\d+/.*/kmip-identity(\.new)?",
        r"protocol\.crypto\.certificates:.*|services\.runtime\.node_certificates:.*",
        "a Key Provider Service keeps the key of its certificate on its own disk, which has no TPM",
    ),
    Exempt(
        "disk",
        r"[^/]+/.*/vmca(\.new)?",
        r"services\.runtime\.node_certificates:.*",
        "VMCA's key lies on vCenter's own disk, as the product's does (VTPM-04)",
    ),
    Exempt(
        "disk",
        r"(attestation|keyprovider)-\d+/.*/identity(\.new)?",
        r"services\.runtime\.node_certificates:.*",
        "a service of a Trust Authority keeps its signing key on its own disk (ATT-03)",
    ),
    Exempt(
        "disk",
        r"[^/]+/.*/sts(\.new)?",
        r"services\.runtime\.node_certificates:.*",
        "the key of vCenter's STS lies on its own disk, as the product's does (HLT-05)",
    ),
    Exempt(
        "faults",
        ".*",
        r"services\.vcenter\.providers\.native:new_kdk|chaos\.administration:.*",
        "notes of provider.delete hold the backup of a native provider for its cure; mode 0600",
    ),
    Exempt(
        "faults",
        ".*",
        r"services\.esxi\.configuration\.sections:.*"
        r"|services\.esxi\.configuration\.archive:.*|services\.esxi\.console:.*",
        "notes of TPM faults hold recovery keys as an administrator's safe would; mode 0600",
    ),
    Exempt(
        "identity",
        ".*",
        "identity",
        "the lab's identities lie in files of mode 0600, one per node, read by their owner",
    ),
)
"""Not looked at: the NV of TPMs (a TPM's own memory, which the lab cannot encrypt for it), the
memory of processes, and the control plane, over which an administrator's console shows recovery
keys and guests are given their markers."""


def leaks(found: Iterable[Find]) -> list[Find]:
    """What no exemption allows."""
    return [find for find in found if not any(covers(rule, find) for rule in EXEMPT)]


def covers(rule: Exempt, find: Find) -> bool:
    """Whether the rule allows what was found."""
    pairs = ((rule.kind, find.kind), (rule.name, find.name), (rule.secret, find.secret))
    return all(re.fullmatch(pattern, text) for pattern, text in pairs)


BUILD: Final = "build-bus.msgpack"
"""The file with what was said on the bus while the lab was built."""
TPM: Final = "tpm"
"""The folder that is not looked at: a TPM's own memory, which the lab cannot encrypt for it."""


def files_of(folder: Path) -> Iterator[SearchedPlace]:
    """Every file of a lab's folder that is still there when it is read."""
    for path in sorted(folder.rglob("*")):
        where = path.relative_to(folder)
        with suppress(FileNotFoundError):  # replaced under our eyes
            if path.is_file() and not path.is_symlink() and where.parts[0] != TPM:
                yield place_of(where, path.read_bytes())


def place_of(where: Path, data: bytes) -> SearchedPlace:
    """A file of a lab's folder by its sort of place; ``where`` it lies in that folder."""
    match where.parts:
        case ("nodes", node, "disk", "databases", *rest):
            return SearchedPlace("database", "/".join((node, *rest)), data)
        case ("nodes", node, "disk", "copies", *rest):
            return SearchedPlace("disk", "/".join(("copies", node, *rest)), data)
        case ("nodes", node, *rest):
            return SearchedPlace("disk", "/".join((node, *rest)), data)
        case ("arrays", *rest):
            return SearchedPlace("datastore", "/".join(rest), data)
        case ("logs", *rest):
            return SearchedPlace("log", "/".join(rest), data)
        case (("broker-data" | "broker-control") as broker, *rest):
            return SearchedPlace("broker", "/".join((broker, *rest)), data)
        case (file,) if file == BUILD:
            return SearchedPlace("bus", file, data)
        case ("identity", *rest):
            return SearchedPlace("identity", "/".join(rest), data)
        case _:
            return SearchedPlace("other", str(where), data)


class Found(msgspec.Struct, frozen=True):
    """A search: for so many ``secrets`` in so many ``places``. ``hits`` are places with any of them
    (``kind name``), ``leaks`` what no exemption allows, with who made it; never bytes."""

    secrets: int
    places: int
    hits: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()


class SecretWatch:
    """``secrets``: bytes -> who made them, as they are known at each moment."""

    def __init__(self, secrets: Mapping[bytes, str]) -> None:
        self.secrets = secrets
        self.wire: list[SearchedPlace] = []

    def hear(self, subject: str, reply: str, payload: bytes) -> None:
        """A message as the broker lets it in (``services.runtime.world.TapCallback``)."""
        self.wire.append(SearchedPlace("bus", subject, f"{subject} {reply} ".encode() + payload))

    def search_places(self, places: Iterable[SearchedPlace]) -> Found:
        """Where any secret lies in these."""
        looked = tuple(places)
        finds = search(dict(self.secrets), looked)
        return Found(
            secrets=len(self.secrets),
            places=len(looked),
            hits=tuple(dict.fromkeys(f"{find.kind} {find.name}" for find in finds)),
            leaks=tuple(dict.fromkeys(map(_describe_find, leaks(finds)))),
        )


def _describe_find(find: Find) -> str:
    return f"{find.secret} in {find.kind} {find.name} ({find.form})"


OP: Final = "scan"
"""Of its ``state`` record: how many ``places`` of each sort were searched for how many ``keys``,
in which sorts the ``canary`` was found, what was found else, and whether keys were ``kept``."""
CANARY: Final = "canary"
_MOST: Final = 10  # findings of each sort of place that a history has in full


def search_and_count(
    secrets: Mapping[bytes, str], canary: bytes, places: Sequence[SearchedPlace]
) -> tuple[list[Find], dict[str, int]]:
    """All that is found of ``secrets`` and the canary; how many places there are of each sort."""
    found = search({**secrets, canary: CANARY}, places)
    return found, dict(sorted(Counter(place.kind for place in places).items()))


def write(
    history: History,
    found: Sequence[Find],
    places: Mapping[str, int],
    keys: int,
    *,
    kept: bool,
    missing: str = "",
) -> None:
    """Write down what was found where: kinds of keys, never bytes; ``missing``: what could not be
    searched."""
    hits = {find.kind for find in found if find.secret == CANARY}
    bad = leaks(find for find in found if find.secret != CANARY)
    shown = [find for kind in places for find in [f for f in bad if f.kind == kind][:_MOST]]
    history.add(
        "state",
        op=OP,
        kept=kept,
        places=places,
        keys=keys,
        canary=sorted(hits),
        findings=[msgspec.structs.asdict(find) for find in shown],
        more=len(bad) - len(shown),
        **({"missing": missing} if missing else {}),
    )
