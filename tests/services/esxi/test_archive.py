"""The archive's writer: durable before it answers, one write in flight, whole after any crash."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.errors import CryptographicFailure, NotConnected, SaveFailed
from protocol.messages.host.crypto import GetCryptoKeyStatus
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, HostCryptoState, KeyKind, VmName
from services.esxi.boot import SCREEN_B
from services.esxi.configuration.archive import FILE, Archive, pack, read_protection, unpack
from services.esxi.configuration.sealing import create_unprotected_key
from services.esxi.configuration.sections import (
    Configuration,
    ConfigurationSection,
    StoredKey,
    StoredKeys,
    merge_sections,
)
from services.runtime.incarnation import Incarnation
from services.runtime.sim.clock_and_rng import SimRng
from services.runtime.sim.disk import SimDisk
from tests.services.esxi.rig import HOST_KEY, A, Rig, add, key, material

KEY = KeyMaterial(b"k" * 32)
FULL = Configuration(
    crypto_state=HostCryptoState.SAFE,
    host_key=HOST_KEY,
    persistence=True,
    store=StoredKeys((StoredKey(HOST_KEY, material(HOST_KEY), KeyKind.HOST),)),
    vms=(VmName("vm-01"),),
)


def rng() -> SimRng:
    return SimRng(1, Incarnation(A, 1))


def test_round_trip_and_no_key_in_clear() -> None:
    protection, config_key = create_unprotected_key(rng())
    data = pack(protection, config_key, FULL, bytes(12))
    assert unpack(data, config_key).configuration == FULL
    assert read_protection(data) == protection
    assert material(HOST_KEY).reveal() not in data
    assert config_key.reveal() not in data


class EntryOfOld(msgspec.Struct):
    """A stored key as it was written before keys had a kind."""

    key: CryptoKeyId
    material: bytes


def test_entries_without_a_kind_read_as_what_they_were() -> None:
    """The host key as the host's, every other key as a VM's."""
    entries = [EntryOfOld(k, material(k).reveal()) for k in (key("kek-1"), HOST_KEY)]
    old = msgspec.to_builtins(Configuration(host_key=HOST_KEY, persistence=True), enc_hook=list)
    old["store"] = [msgspec.to_builtins(entry, builtin_types=(bytes,)) for entry in entries]
    header = msgspec.msgpack.encode(create_unprotected_key(rng())[0])
    box = AESGCM(KEY.reveal()).encrypt(bytes(12), msgspec.msgpack.encode(old), header)
    data = msgspec.msgpack.encode((1, header, bytes(12), box))
    assert tuple(unpack(data, KEY).configuration.store) == (
        StoredKey(key("kek-1"), material(key("kek-1")), KeyKind.VM),
        StoredKey(HOST_KEY, material(HOST_KEY), KeyKind.HOST),
    )


def test_another_key_or_one_flipped_bit_opens_nothing() -> None:
    protection, config_key = create_unprotected_key(rng())
    data = pack(protection, config_key, FULL, bytes(12))
    with pytest.raises(CryptographicFailure):
        unpack(data, KEY)
    for at in range(0, len(data), 7):
        damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(CryptographicFailure):
            unpack(damaged, config_key)


def test_sections_are_saved_apart() -> None:
    base = Configuration()
    vms = merge_sections(base, FULL, ConfigurationSection.VMS)
    assert (vms.vms, vms.store, vms.persistence) == (FULL.vms, StoredKeys(), False)
    assert merge_sections(base, FULL, ConfigurationSection.ALL) == FULL
    assert merge_sections(FULL, FULL, ConfigurationSection.ALL) is FULL


def test_saves_in_flight_share_the_next_write(rig: Rig) -> None:
    """Sixty-four at once: the first writes alone, the second covers all the others."""
    rig.up()
    rig.esxcli("system security keypersistence enable")
    rig.make_safe()
    archive = rig.host().archive
    before = archive.writes

    async def save_one(name: str) -> None:
        archive.change(vms=(*archive.now.vms, VmName(name)))
        await archive.save(ConfigurationSection.VMS)

    async def all_at_once() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(64):
                group.create_task(save_one(f"x-{number}"))

    rig.run(all_at_once())
    assert archive.writes - before == 2
    assert not archive.dirty
    rig.reboot(way="power_loss")
    assert len(rig.host().archive.now.vms) == 64


def keys_survive_power_loss(rig: Rig) -> bool:
    """Add keys with persistence on; the instant the reply is there, power is lost."""
    rig.up()
    rig.esxcli("system security keypersistence enable")
    rig.make_safe()
    rig.add_keys(*(key(f"kek-{n}") for n in range(5)))
    rig.reboot(way="power_loss")
    status = rig.console(GetCryptoKeyStatus(keys=tuple(key(f"kek-{n}") for n in range(5)))).keys
    return all(entry.present and entry.stored for entry in status)


def test_keys_answered_are_keys_kept(rig: Rig) -> None:
    assert keys_survive_power_loss(rig)


async def nothing(self: SimDisk, path: str = "") -> None:
    """A sync that does not sync."""


@pytest.mark.parametrize("call", ["sync", "sync_folder"])
def test_persistence_that_does_not_sync_is_caught(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Negative control: without either sync the keys are gone, and that shows."""

    def broken(*args: object) -> None:
        monkeypatch.setattr(SimDisk, call, nothing)

    monkeypatch.setattr("services.esxi.keys.key_cache.enable_persistence", _then(broken))
    try:
        kept = keys_survive_power_loss(rig)
    except NotConnected:  # an empty file does not even boot
        assert rig.status().screen == SCREEN_B
        kept = False
    assert not kept


@pytest.mark.parametrize("call", ["sync", "sync_folder"])
def test_a_removal_that_does_not_sync_is_caught(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Negative control: a file that is made anew needs both, or what was removed is there again."""
    remove_all = "system security keypersistence disable --remove-all-stored-keys"
    rig.up()
    rig.esxcli("system security keypersistence enable")
    rig.make_safe()
    with monkeypatch.context() as broken:
        broken.setattr(SimDisk, call, nothing)
        assert rig.esxcli(remove_all).exit_code == 0
    rig.power_off(way="power_loss")
    if call == "sync":  # an empty file does not even boot
        assert rig.power_on().screen == SCREEN_B
    else:
        assert rig.power_on().screen == ""
        assert rig.summary().stored_keys == 1


def _then(hook: Callable[..., None]) -> Callable[..., Configuration]:
    from services.esxi.keys.key_cache import enable_persistence

    def wrapped(*args: object, **options: bool) -> Configuration:
        hook()
        return enable_persistence(*args, **options)  # type: ignore[arg-type]

    return wrapped


def test_a_full_disk_is_told_and_the_old_archive_stays(rig: Rig) -> None:
    rig.up()
    rig.esxcli("system security keypersistence enable")
    rig.make_safe()
    rig.store().full = True
    refused = rig.refused_command(add(key("kek-1")))
    assert isinstance(refused, SaveFailed)
    assert not refused.definite
    assert rig.esxcli("system security keypersistence disable").exit_code == 1
    rotate = "system settings encryption recovery rotate"
    before = rig.summary().recovery_id
    assert rig.esxcli(rotate).exit_code == 1
    assert rig.summary().recovery_id == before
    rig.store().full = False
    rig.reboot(way="power_loss")
    assert rig.summary().stored_keys == 1  # the host key: what was acknowledged
    assert rig.summary().key_persistence
    rig.connect()
    rig.add_keys(key("kek-1"))
    rig.reboot(way="power_loss")
    assert rig.summary().stored_keys == 2


class Failing:
    """A disk whose nth call fails with EIO; earlier and later ones work."""

    def __init__(self, disk: SimDisk, nth: int) -> None:
        self._disk, self._left = disk, nth

    def __getattr__(self, name: str) -> object:
        method = getattr(self._disk, name)

        async def call(*args: object) -> object:
            self._left -= 1
            if self._left == 0:
                raise OSError(errno.EIO, "input/output error")
            return await method(*args)

        return call


@pytest.mark.parametrize(
    ("sections", "calls"),
    [
        (ConfigurationSection.VMS, ("append", "sync")),
        (ConfigurationSection.ALL, ("write", "sync", "replace", "sync_folder")),
    ],
)
@pytest.mark.parametrize("nth", range(1, 6))
def test_every_failing_disk_call_is_told_and_made_up_for(
    rig: Rig, nth: int, sections: ConfigurationSection, calls: tuple[str, ...]
) -> None:
    """The save fails, the next one succeeds; behind the last call there is none that could."""
    rig.up()
    rig.power_off()
    life = Incarnation(A, 99)
    disk = rig.store().disk(life)

    async def story() -> tuple[bool, Configuration]:
        protection, config_key = create_unprotected_key(rng())
        archive = Archive(disk, rng(), protection, config_key, Configuration())
        await archive.save()
        archive.change(vms=(VmName("vm-1"),))
        await archive.save(
            ConfigurationSection.VMS
        )  # behind the first piece, so that ALL writes anew
        archive._disk = Failing(disk, nth)  # type: ignore[assignment]
        archive.change(vms=(VmName("vm-1"), VmName("vm-2")))
        failed = False
        try:
            await archive.save(sections)
        except SaveFailed:
            failed = True
        assert failed == archive.dirty
        await archive.save(ConfigurationSection.NOTHING)
        assert not archive.dirty
        return failed, unpack(await disk.read("bootbank/state.tgz"), config_key).configuration

    failed, on_disk = rig.run(story())
    assert failed == (nth <= len(calls))
    assert len(on_disk.vms) == 2


def test_what_a_cancelled_save_was_to_write_is_written_by_the_next(rig: Rig) -> None:
    """Its caller gives up while the disk works: the sections it named are wanted still."""
    rig.up()
    rig.power_off()
    disk = rig.store().disk(Incarnation(A, 99))

    async def story() -> Configuration:
        protection, config_key = create_unprotected_key(rng())
        archive = Archive(disk, rng(), protection, config_key, Configuration())
        await archive.save()
        archive.change(persistence=True)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await archive.save(ConfigurationSection.PERSISTENCE)
        await archive.save(ConfigurationSection.NOTHING)
        return unpack(await disk.read("bootbank/state.tgz"), config_key).configuration

    assert rig.run(story()).persistence


def test_the_hourly_knob_loses_exactly_the_keys_since_the_last_save(rig: Rig) -> None:
    """A24: and nothing else: registrations made later are there."""
    rig.up(knobs={"config_save": "hourly", "config_save_period_s": 600.0})
    rig.esxcli("system security keypersistence enable")
    rig.make_safe()
    rig.add_keys(key("old"))
    rig.sleep(700)
    assert rig.kinds("config.saved") == [{"why": "hourly"}]
    rig.connect()
    rig.encrypted_vm(kek="new")
    rig.reboot(way="power_loss")
    status = rig.console(GetCryptoKeyStatus(keys=(HOST_KEY, key("old"), key("new")))).keys
    assert [entry.present for entry in status] == [True, True, False]
    assert rig.vm().missing == (key("new"),)


def test_the_hourly_knob_loses_nothing_at_an_orderly_stop(rig: Rig) -> None:
    rig.up(knobs={"config_save": "hourly"})
    rig.esxcli("system security keypersistence enable")
    rig.make_safe()
    rig.add_keys(key("new"))
    rig.reboot(way="stop")
    assert rig.summary().stored_keys == 2


def test_what_a_boot_found_and_could_not_sync_is_written_anew(rig: Rig) -> None:
    """A sync that failed leaves the kernel with nothing to write back: the next one says yes, and
    carries nothing. So what the life before had only written has to be written again."""
    rig.up()
    rig.power_off()
    store = rig.store()
    disk = store.disk(Incarnation(A, 99))

    async def story() -> Configuration:
        protection, config_key = create_unprotected_key(rng())
        before = Archive(disk, rng(), protection, config_key, Configuration())
        await before.save()
        before.change(vms=(VmName("vm-1"),))
        before._disk = Failing(disk, 2)  # type: ignore[assignment]
        with pytest.raises(SaveFailed):
            await before.save(ConfigurationSection.VMS)  # it is behind the file, and not synced
        found = unpack(await disk.read(FILE), config_key)
        archive = Archive.reopen(disk, rng(), protection, config_key, found)
        archive._disk = Failing(disk, 2)  # type: ignore[assignment]
        with pytest.raises(SaveFailed):
            await archive.save(ConfigurationSection.NOTHING)
        store.on_disk.lose_unsynced(FILE)
        assert archive.dirty
        await archive.save(ConfigurationSection.NOTHING)
        return unpack(store.on_disk.after_power_loss().read(FILE), config_key).configuration

    assert rig.run(story()).vms == (VmName("vm-1"),)
