"""A key that lies on a boot device is found in every piece of every file, whatever is in force."""

from __future__ import annotations

from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, KeyId, ProtectionMode, ProviderId
from services.esxi.configuration.archive import ConfigurationProtection, pack, pack_addition, tag_of
from services.esxi.configuration.sections import Addition, Configuration, StoredKey, StoredKeys
from tests.sweep.forensics import clear_pieces, lying

CONFIG_KEY = KeyMaterial(b"c" * 32)
OTHER = b"o" * 32
FIRST, SECOND = b"1" * 32, b"2" * 32


def entry(name: str, value: bytes) -> StoredKey:
    return StoredKey(CryptoKeyId(KeyId(name), ProviderId("p")), KeyMaterial(value))


def archive() -> bytes:
    """A file with one key in its first piece, and one that was added."""
    protection = ConfigurationProtection(mode=ProtectionMode.NONE, material=b"m" * 32)
    now = Configuration(store=StoredKeys([entry("first", FIRST)]))
    head = pack(protection, CONFIG_KEY, now, b"n" * 12)
    more = Addition(keys=(entry("second", SECOND),))
    return head + pack_addition(tag_of(head), CONFIG_KEY, more, b"m" * 12)


def test_keys_are_found_in_each_piece_and_in_clear() -> None:
    keys = {"first": FIRST, "second": SECOND, "third": b"3" * 32}
    files = [("written/state.tgz", archive()), ("written/notes", b"so: " + b"3" * 32)]
    assert lying(files, [OTHER, CONFIG_KEY.reveal()], keys) == {
        "first": "written/state.tgz",
        "second": "written/state.tgz",
        "third": "written/notes",
    }


def test_without_the_config_key_nothing_is_found() -> None:
    assert lying([("state.tgz", archive())], [OTHER], {"first": FIRST, "second": SECOND}) == {}


def test_a_file_that_was_cut_tells_what_is_whole_of_it() -> None:
    data = archive()
    assert len(list(clear_pieces(data, [CONFIG_KEY.reveal()]))) == 2
    assert len(list(clear_pieces(data[:-1], [CONFIG_KEY.reveal()]))) == 1
    assert list(clear_pieces(b"no archive at all, " * 9, [CONFIG_KEY.reveal()])) == []
