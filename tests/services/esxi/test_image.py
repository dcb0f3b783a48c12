"""The file of the configuration: what it costs, what leaves it, and what is put together or cut.

Pieces are added behind the file, so a file can be cut at each of its bytes, and put together from
pieces of others. Every file that opens is one that was durable once; whatever else is a screen.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from protocol.errors import CryptographicFailure
from protocol.messages.agent import NodeRunState, TpmBackend
from protocol.messages.host.crypto import RemoveKeys
from protocol.messages.host.session import HaConfiguration, ProviderRef, SaveConfiguration
from protocol.messages.host.vms import HostCreateVm
from protocol.secret import KeyMaterial
from protocol.terms import ClusterName, CryptoKeyId, HostCryptoState, ManagementType, VmName
from protocol.trust import TrustedConfiguration
from protocol.vsan import VsanEncryption
from services.esxi.boot import SCREEN_A, SCREEN_B
from services.esxi.configuration.archive import ROOM, pack, pack_addition, tag_of, unpack
from services.esxi.configuration.sealing import create_unprotected_key
from services.esxi.configuration.sections import (
    Configuration,
    StoredKey,
    StoredKeys,
    find_addition,
    new_recovery_key,
)
from services.runtime.incarnation import Incarnation
from services.runtime.node_certificates import OwnCertificate
from services.runtime.sim.clock_and_rng import SimRng
from tests.services.esxi.rig import PROVIDER, A, B, Rig, add, key, material
from tests.services.esxi.test_crash_points import falling

FILE = "bootbank/state.tgz"
ENABLE = "system security keypersistence enable"
REMOVE_ALL = "system security keypersistence disable --remove-all-stored-keys"


def ready(rig: Rig, **host: Any) -> None:
    rig.up(**host)
    assert rig.esxcli(ENABLE).exit_code == 0
    rig.make_safe()


def on_disk(rig: Rig, node: Any = A) -> bytes:
    return rig.store(node).on_disk.read(FILE)


def stored(rig: Rig) -> set[CryptoKeyId]:
    return {entry.key for entry in rig.host().archive.now.store}


def whole(rig: Rig) -> int:
    """The size of the file when it is made anew."""
    rig.console(SaveConfiguration())
    return len(on_disk(rig))


def pieces(data: bytes) -> list[bytes]:
    """The pieces of a file, each with its length."""
    found, at = [], 0
    while at < len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        found.append(data[at:end])
        at = end
    assert b"".join(found) == data
    return found


# ---- what a save costs ------------------------------------------------------------------------


def test_a_save_writes_what_is_new_whatever_is_there(rig: Rig) -> None:
    ready(rig)
    added = []
    for size in (10, 1000):
        rig.add_keys(*(key(f"{size}-{number:04}") for number in range(size)))
        whole(rig)
        before = len(on_disk(rig))
        rig.add_keys(key(f"one-behind-{size:04}"))
        added.append(len(on_disk(rig)) - before)
    assert added[0] == added[1] < 300


def test_the_file_is_made_anew_before_additions_outweigh_it(rig: Rig) -> None:
    """One key at a time: the file is at most twice as large as it must be, and some room."""
    ready(rig)
    sizes = []
    for number in range(900):
        rig.add_keys(key(f"k-{number:04}"))
        sizes.append(len(on_disk(rig)))
    shrunk = sum(after < before for before, after in pairwise(sizes))
    assert 1 <= shrunk <= 4
    least = whole(rig)
    assert max(sizes) <= 2 * least + 2 * ROOM
    rig.reboot(way="power_loss")
    assert len(stored(rig)) == 901


def test_a_full_save_leaves_one_piece(rig: Rig) -> None:
    ready(rig)
    rig.add_keys(key("a"))
    assert len(pieces(on_disk(rig))) > 1
    rig.console(SaveConfiguration())
    assert len(pieces(on_disk(rig))) == 1
    rig.add_keys(key("b"))
    rig.reboot(way="stop")
    assert len(pieces(on_disk(rig))) == 1
    assert len(stored(rig)) == 3


# ---- what leaves the disk ---------------------------------------------------------------------


def opened_anywhere(rig: Rig, config_key: KeyMaterial) -> set[CryptoKeyId]:
    """Every key that can be found with the config key, in any piece of any file of the disk."""
    found: set[CryptoKeyId] = set()
    for path, data in rig.store().images():
        if "state.tgz" in path:
            whole = pieces(data)
            for end in range(1, len(whole) + 1):
                opened = unpack(b"".join(whole[:end]), config_key)
                found |= {entry.key for entry in opened.configuration.store}
    return found


@pytest.mark.parametrize("way", ["one by one", "all of them"])
def test_keys_that_are_removed_are_in_no_piece_of_the_disk(rig: Rig, way: str) -> None:
    ready(rig)
    for name in ("a", "b", "c"):
        rig.add_keys(key(name))
    config_key = rig.host().archive.config_key
    assert opened_anywhere(rig, config_key) >= {key("a"), key("b")}
    if way == "one by one":
        rig.command(RemoveKeys(keys=(key("a"),)))
        rig.command(RemoveKeys(keys=(key("b"),)))
        assert not opened_anywhere(rig, config_key) & {key("a"), key("b")}
    else:
        assert rig.esxcli(REMOVE_ALL).exit_code == 0
        assert not opened_anywhere(rig, config_key)
        assert rig.esxcli(ENABLE).exit_code == 0
        assert key("c") in opened_anywhere(rig, config_key), "the look finds what is there"


def test_a_recovery_key_that_was_rotated_away_is_in_no_piece(rig: Rig) -> None:
    ready(rig)
    rig.add_keys(key("a"))
    old = rig.host().archive.now.recovery
    assert rig.esxcli("system settings encryption recovery rotate").exit_code == 0
    assert len(pieces(on_disk(rig))) == 1
    opened = unpack(on_disk(rig), rig.host().archive.config_key)
    assert opened.configuration.recovery not in (None, old)


def test_no_key_is_in_clear_in_an_addition(rig: Rig) -> None:
    ready(rig)
    rig.add_keys(key("a"))
    for _, data in rig.store().images():
        assert material(key("a")).reveal() not in data


# ---- what is cut or put together ---------------------------------------------------------------


@pytest.fixture
def grown(rig: Rig) -> list[bytes]:
    """The file of a host that fell, in its pieces; the host is off."""
    ready(rig)
    rig.console(SaveConfiguration())
    for name in ("a", "b", "c"):
        rig.add_keys(key(name))
    rig.power_off(way="power_loss")
    found = pieces(on_disk(rig))
    assert len(found) == 4
    return found


def boot_with(rig: Rig, data: bytes) -> str:
    """The screen of a boot from this file; empty when it runs."""
    rig.store().on_disk.write(FILE, data)
    status = rig.power_on()
    if status.state is not NodeRunState.RUNNING:
        rig.power_off()
    return status.screen


@pytest.mark.parametrize(
    "order",
    [(0, 2), (0, 1, 3), (0, 2, 1), (0, 1, 1), (1,), (1, 0), (0, 0), (0, 1, 2, 3, 3), (3,), ()],
)
def test_pieces_in_another_order_are_a_screen(
    rig: Rig, grown: list[bytes], order: tuple[int, ...]
) -> None:
    assert boot_with(rig, b"".join(grown[place] for place in order)) == SCREEN_B


def made_anew(rig: Rig, grown: list[bytes]) -> list[bytes]:
    """The pieces of the same host's file after a save of everything, and then a key more."""
    assert boot_with(rig, b"".join(grown)) == ""
    rig.connect()
    rig.console(SaveConfiguration())
    rig.add_keys(key("d"))
    rig.power_off(way="power_loss")
    return pieces(on_disk(rig))


def test_a_piece_behind_another_first_piece_is_a_screen(rig: Rig, grown: list[bytes]) -> None:
    """Older pieces beside a newer file, and newer ones behind an older file, of the same host."""
    newer = made_anew(rig, grown)
    for mixed in ((newer[0], grown[1]), (grown[0], newer[1]), (*grown, newer[1])):
        assert boot_with(rig, b"".join(mixed)) == SCREEN_B
    assert boot_with(rig, b"".join(newer)) == ""


def test_a_first_piece_with_more_behind_its_box_is_a_screen(rig: Rig, grown: list[bytes]) -> None:
    """Its last bytes would be anybody's: newer pieces would open behind an older first piece."""
    newer = made_anew(rig, grown)
    parts = msgspec.msgpack.decode(grown[0][8:])
    content = msgspec.msgpack.encode([*parts, tag_of(newer[0])])
    length = len(content).to_bytes(4, "big")
    forged = length + zlib.crc32(length).to_bytes(4, "big") + content
    assert boot_with(rig, forged + newer[1]) == SCREEN_B
    assert boot_with(rig, forged) == SCREEN_B


def test_pieces_of_another_host_are_a_screen(rig: Rig, grown: list[bytes]) -> None:
    rig.up(B)
    rig.make_safe(B)
    rig.command(HostCreateVm(vm=VmName("vm-1"), blocks=2), B)
    theirs = pieces(on_disk(rig, B))
    assert len(theirs) > 1
    assert boot_with(rig, grown[0] + theirs[1]) == SCREEN_B
    assert boot_with(rig, b"".join(theirs)) == SCREEN_A


def test_a_cut_anywhere_is_a_screen_or_an_earlier_save_that_is_told(
    rig: Rig, grown: list[bytes]
) -> None:
    """In the first piece there is nothing to fall back to; in a later one it is as after a write
    that was cut, and said in the record."""
    data, first = b"".join(grown), len(grown[0])
    for at in (*range(0, first, 97), first - 1):
        assert boot_with(rig, data[:at]) == SCREEN_B
    ends = [first, first + len(grown[1]), first + len(grown[1]) + len(grown[2])]
    for at in range(first, len(data), 11):
        told = len(rig.kinds("config.torn"))
        assert boot_with(rig, data[:at]) == ""
        whole_pieces = sum(end <= at for end in ends) - 1
        assert len(stored(rig)) == 1 + whole_pieces
        assert len(rig.kinds("config.torn")) - told == (at not in ends)
        rig.power_off(way="power_loss")


def test_a_flipped_byte_of_a_later_piece_is_a_screen(rig: Rig, grown: list[bytes]) -> None:
    """Also in a length: a file whose end is not where it says is no file that was cut."""
    data, first = b"".join(grown), len(grown[0])
    for at in range(first, len(data)):
        bad = data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :]
        with pytest.raises(CryptographicFailure):
            unpack(bad, rig.host().archive.config_key)


def test_the_boot_after_a_cut_makes_the_file_anew(rig: Rig, grown: list[bytes]) -> None:
    assert boot_with(rig, b"".join(grown)[:-5]) == ""
    rig.sleep(1)
    assert len(pieces(on_disk(rig))) == 1
    rig.connect()
    rig.add_keys(key("d"))
    rig.reboot(way="power_loss")
    assert stored(rig) >= {key("a"), key("b"), key("d")}


@pytest.mark.parametrize("tpm", [TpmBackend.MODEL, TpmBackend.NONE])
def test_the_counter_stops_at_a_file_without_its_last_piece(rig: Rig, tpm: TpmBackend) -> None:
    """In mode NONE nothing counts: whoever has the disk has the key too."""
    rig.up(knobs={"archive_counter": True}, tpm=tpm)
    for name in ("vm-1", "vm-2"):
        rig.command(HostCreateVm(vm=VmName(name), blocks=2))
    rig.power_off(way="crash")
    found = pieces(on_disk(rig))
    assert len(found) > 2
    cut = b"".join(found)[:-3]
    for data in (cut, b"".join(found[:-1]), b"".join(found[:-2])):
        assert boot_with(rig, data) == (SCREEN_B if tpm is TpmBackend.MODEL else "")
        rig.power_off(way="crash")
    assert boot_with(rig, b"".join(found)) == ""


def test_a_file_of_the_older_format_opens_and_the_next_write_makes_it_anew(rig: Rig) -> None:
    ready(rig)
    rig.add_keys(key("a"))
    rig.power_off()
    parts = on_disk(rig)[8:]
    assert parts[:2] == bytes((0x94, 2))
    assert boot_with(rig, bytes((0x94, 1)) + parts[2:]) == ""
    assert len(stored(rig)) == 2
    rig.connect()
    rig.add_keys(key("b"))
    assert on_disk(rig)[:1] != bytes((0x94,))
    rig.reboot(way="power_loss")
    assert len(stored(rig)) == 3


# ---- what an earlier life left unsynced --------------------------------------------------------


def test_what_a_life_finds_is_durable_before_it_is_answered_for() -> None:
    """A crash between a write and its sync leaves keys that a boot reads and no power loss keeps.

    Asked for them again, the host may not take them for stored.
    """
    for nth in range(1, 12):
        rig = Rig(seed=nth)
        rig.generations = {}
        ready(rig)
        with falling(rig, nth, "crash") as fall:
            outcomes: list[Any] = [None]
            rig.accept([add(key("a"))], outcomes)
            for _ in range(100):
                rig.sleep(0.001)
        rig.power_off(A, "crash")
        assert rig.power_on().state is NodeRunState.RUNNING
        rig.connect()
        rig.add_keys(key("a"))
        rig.power_off(A, "power_loss")
        rig.power_on()
        assert key("a") in stored(rig), nth
        rig.close()
        if not fall.happened:
            assert nth > 2
            return
    raise AssertionError("the story has too many points")


# ---- values ------------------------------------------------------------------------------------

ONE, TWO, THREE = (StoredKey(key(name), material(key(name))) for name in ("one", "two", "three"))


def test_a_value_is_not_changed_by_what_follows_from_it() -> None:
    first = StoredKeys((ONE,))
    second, other = first.adding((TWO,)), first.adding((THREE,))
    assert (tuple(first), tuple(second), tuple(other)) == ((ONE,), (ONE, TWO), (ONE, THREE))
    assert second.get(THREE.key) is None and first.get(TWO.key) is None
    assert second.adding((TWO,)) is second and second.without((THREE.key,)) is second
    assert first.adding((TWO, TWO)) == second


def test_what_came_since() -> None:
    first = StoredKeys((ONE,))
    second = first.adding((TWO,))
    third = second.adding((THREE,))
    assert (third.since(first), third.since(second), third.since(third)) == (
        (TWO, THREE),
        (THREE,),
        (),
    )
    assert first.since(second) is None
    assert third.without((ONE.key,)).since(third) is None
    other = StoredKey(ONE.key, material(key("other")))
    assert third.adding((other,)).since(third) is None
    assert tuple(third.adding((other,))) == (other, TWO, THREE)


OTHERS: dict[str, Any] = {
    "crypto_state": HostCryptoState.SAFE,
    "host_key": ONE.key,
    "host_key_check": "0123456789ab",
    "release": "8.0U3",
    "kdks": (ONE,),
    "persistence": True,
    "providers": (ProviderRef(provider_id=PROVIDER, management_type=ManagementType.VCENTER),),
    "recovery": new_recovery_key(SimRng(1, Incarnation(A, 1))),
    "maintenance": True,
    "cloning": (VmName("vm-2"),),
    "trusted": TrustedConfiguration(revision="r1"),
    "vsan": VsanEncryption(encryption_enabled=True),
    "vsan_next": VsanEncryption(encryption_enabled=True),
    "kmip": OwnCertificate(b"certificate", b"key"),
    "ha": HaConfiguration(cluster=ClusterName("c"), epoch="e", hosts=(A,)),
}


def test_what_is_more_than_keys_and_vms_is_no_addition() -> None:
    """It would be lost by the next crash, or undone by a cut."""
    assert set(OTHERS) == set(Configuration.__struct_fields__) - {"store", "vms"}
    for field, value in OTHERS.items():
        changed = msgspec.structs.replace(Configuration(), **{field: value})
        assert find_addition(Configuration(), changed, 0) is None


@pytest.fixture
def opened() -> Iterator[tuple[bytes, KeyMaterial, Configuration]]:
    protection, config_key = create_unprotected_key(SimRng(1, Incarnation(A, 1)))
    now = Configuration(persistence=True, store=StoredKeys((ONE,)))
    yield pack(protection, config_key, now, bytes(12)), config_key, now


def test_additions_give_what_was_added(
    opened: tuple[bytes, KeyMaterial, Configuration],
) -> None:
    data, config_key, now = opened
    store, vms = now.store.adding((TWO,)), (VmName("vm-1"),)
    later = msgspec.structs.replace(now, store=store, vms=vms)
    more = find_addition(now, later, 7)
    assert more is not None
    data += pack_addition(tag_of(data), config_key, more, b"n" * 12)
    found = unpack(data, config_key)
    assert (found.configuration, found.count, found.size) == (later, 7, len(data))
    assert not found.torn and found.last_tag == tag_of(data)
