"""The scanner itself: it finds a secret in every form, wherever it stands, and nothing else."""

from __future__ import annotations

import base64
import importlib
import inspect
import json
import os
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from lab.scan.search import EXEMPT, Find, Needles, SearchedPlace, forms, leaks, pieces, search
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import TtlvItem, Type, encode

SECRET = bytes(range(7, 250, 5))[:32]
OTHER = bytes(range(100, 164))

WRITTEN = {
    "raw": SECRET,
    "one half": SECRET[16:],
    "the other": SECRET[:16],
    "backwards": SECRET[::-1],
    "hex": SECRET.hex().encode(),
    "HEX": SECRET.hex().upper().encode(),
    "repr": repr(SECRET).encode(),
    "repr in JSON": json.dumps({"text": repr(SECRET)}).encode(),
    **{f"base64 at {n}": base64.b64encode(os.urandom(n) + SECRET + b"x") for n in range(4)},
    "base64url": base64.urlsafe_b64encode(SECRET),
}


@pytest.mark.parametrize("before", range(9))
@pytest.mark.parametrize("form", WRITTEN)
def test_it_is_found_in_every_form_at_every_offset(form: str, before: int) -> None:
    data = b"\0" * before + WRITTEN[form] + b"tail"
    found = search({SECRET: "it", OTHER: "another"}, [SearchedPlace("disk", "a", data)])
    assert found and {f.secret for f in found} == {"it"}


def test_what_is_not_there_is_not_found() -> None:
    noise = os.urandom(1 << 16) + SECRET[:15] + b"." + SECRET[17:] + SECRET.hex()[:31].encode()
    assert search({SECRET: "it"}, [SearchedPlace("disk", "a", noise)]) == []
    assert search({SECRET: "it"}, [SearchedPlace("disk", "empty", b"")]) == []


def test_every_needle_is_long_enough_to_cover_an_aligned_word() -> None:
    for piece in pieces(os.urandom(64)):
        assert all(len(needle) >= 15 for _, needle in forms(piece))
    assert pieces(b"short") == []
    assert len(pieces(bytes(111))) == 7  # the last overlaps the one before it


def test_padding_is_no_secret() -> None:
    assert len(Needles({bytes(32): "zeros"})) == 0


@pytest.mark.parametrize("maker", sorted({m for e in EXEMPT for m in e.secret.split("|")}))
def test_an_exemption_names_code_that_exists(maker: str) -> None:
    module, _, function = maker.replace("\\", "").partition(":")
    if function and module != ".*":
        source = inspect.getsource(importlib.import_module(module))
        assert function == ".*" or f"def {function}(" in source


def test_an_exemption_covers_one_kind_of_secret_in_one_place() -> None:
    own = Find(
        "disk", "kms/written/master.key", "services.kms.sealing.roots.keyfile:make_master", "raw"
    )
    elsewhere = Find("disk", "esxi-001/written/master.key", own.secret, "raw")
    another = Find(own.kind, own.name, "services.kms.operations.key_creation:_key", "raw")
    assert leaks([own, elsewhere, another]) == [elsewhere, another]
    assert all(rule.why for rule in EXEMPT)


@pytest.mark.parametrize("name", ["state.tgz", "state.tgz.new"])
def test_material_may_lie_in_an_archive_and_in_one_that_is_being_written(name: str) -> None:
    """A host may be looked at in the middle of a save, and lose its power there."""
    maker = "services.esxi.configuration.sealing:derive_config_key"
    there = Find("disk", f"esxi-002/written/bootbank/{name}", maker, "raw")
    other = Find("disk", f"esxi-002/written/bootbank/{name}.old", maker, "raw")
    key = Find("disk", there.name, "services.esxi.keys.key_cache:hold", "raw")
    assert leaks([there, other, key]) == [other, key]


@pytest.mark.parametrize("folder", ["written", "synced", "disk/contents", "disk/synced/+"])
@pytest.mark.parametrize(
    ("node", "file"), [("vcenter", "sts"), ("vcenter", "vmca"), ("attestation-1", "identity")]
)
def test_a_signing_key_lies_on_its_own_disk_in_either_mode(
    node: str, file: str, folder: str
) -> None:
    maker = "services.runtime.node_certificates:new_signer"
    own = Find("disk", f"{node}/{folder}/{file}", maker, "raw")
    other = Find("disk", f"{node}/{folder}/{file}.old", maker, "raw")
    key = Find("disk", own.name, "services.kms.operations.key_creation:_key", "raw")
    assert leaks([own, other, key]) == [other, key]


@pytest.mark.parametrize("kind", ["P-256", "RSA"])
def test_of_a_private_key_that_is_secret_which_its_certificate_has_not(kind: str) -> None:
    """The public key stands in PKCS#8 too; what is private is found in any form."""
    key: Any = (
        ec.generate_private_key(ec.SECP256R1())
        if kind == "P-256"
        else rsa.generate_private_key(65_537, 2048)
    )
    stored = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    numbers = key.private_numbers()
    private = numbers.private_value if kind == "P-256" else numbers.d
    bare = private.to_bytes((private.bit_length() + 7) // 8)
    assert search({stored: "tls"}, [SearchedPlace("disk", "a certificate", public)]) == []
    for data in (stored, bare, base64.b64encode(stored)):
        assert search({stored: "tls"}, [SearchedPlace("disk", "a file", data)])


def test_what_only_begins_like_a_private_key_is_a_secret_as_it_is() -> None:
    secret = b"\x30" + bytes(range(47))
    assert search({secret: "kek"}, [SearchedPlace("disk", "a file", secret)])


@pytest.mark.parametrize(
    ("tag", "kind"),
    [
        (Tag.KEY_MATERIAL, Type.BYTE_STRING),
        (Tag.KEY, Type.BYTE_STRING),
        (Tag.KEY_VALUE, Type.BYTE_STRING),
        (Tag.DATA, Type.BYTE_STRING),
        (Tag.PASSWORD, Type.TEXT_STRING),
    ],
    ids=str,
)
def test_of_a_message_of_kmip_that_is_secret_which_is_hidden_in_it(tag: Tag, kind: Type) -> None:
    """A server hands on what it is asked as it came: ids and names stand elsewhere in clear."""
    name = "3f0c2a9e-6c1d-4a55-9d0e-0b8d7e1f2a3b"
    secret = "a word that is long enough" if kind is Type.TEXT_STRING else SECRET
    inner = TtlvItem(Tag.RESPONSE_PAYLOAD, Type.STRUCTURE, (TtlvItem(tag, kind, secret),))
    clear = TtlvItem(Tag.UNIQUE_IDENTIFIER, Type.TEXT_STRING, name)
    message = encode(TtlvItem(Tag.RESPONSE_MESSAGE, Type.STRUCTURE, (clear, inner)))
    assert search({message: "it"}, [SearchedPlace("bus", "a", encode(clear))]) == []
    hidden = secret if isinstance(secret, bytes) else secret.encode()
    for data in (message, hidden, base64.b64encode(message)):
        assert search({message: "it"}, [SearchedPlace("bus", "a", data)])


def test_what_only_begins_like_a_message_is_a_secret_as_it_is() -> None:
    for secret in (b"\x42" + bytes(range(47)), b"\x42\x00\x7b\x01" + bytes(range(44))):
        assert search({secret: "kek"}, [SearchedPlace("disk", "a file", secret)])
