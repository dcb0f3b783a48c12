"""Saves gather: changes keep the order of acceptance, and one write covers what came meanwhile.

What is answered is durable all the same, at every instant; a write that fails is told to each
whom it was to cover, once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from protocol.errors import ProductError, SaveFailed
from protocol.messages.host.crypto import EvictKeys, GetCryptoKeyStatus, RemoveKeys, SetProviders
from protocol.messages.host.session import Esxcli, EsxcliResult
from protocol.terms import CryptoKeyId
from services.esxi.configuration.archive import unpack
from tests.services.esxi.rig import PROVIDER, A, Rig, add, key
from tests.services.esxi.test_crash_points import Fall, falling

SEEDS = range(1, 11)
FLOOD = 64
ENABLE = "system security keypersistence enable"
REMOVE_ALL = Esxcli(
    arguments=tuple("system security keypersistence disable --remove-all-stored-keys".split())
)


@pytest.fixture
def seed() -> int:
    return 1


@pytest.fixture
def keeper(seed: int) -> Iterator[Rig]:
    """A safe host with key persistence."""
    rig = Rig(seed)
    rig.generations = {}
    ready(rig)
    yield rig
    rig.close()


def ready(rig: Rig) -> None:
    rig.up(A)
    assert rig.esxcli(ENABLE).exit_code == 0
    rig.make_safe()


def here(rig: Rig) -> dict[str, tuple[bool, bool]]:
    """Each key that the host has: whether it is at hand, and whether it is stored."""
    found = rig.console(GetCryptoKeyStatus()).keys
    return {str(entry.key.key_id): (entry.present, entry.stored) for entry in found}


@pytest.mark.parametrize("seed", SEEDS)
def test_keys_that_come_together_share_writes(keeper: Rig) -> None:
    """Sixty-four messages: the first one's write is under way when the others change the store."""
    rig = keeper
    before = rig.host().archive.writes
    outcomes = rig.accepted([add(key(f"k-{number}")) for number in range(FLOOD)])
    assert not [outcome for outcome in outcomes if isinstance(outcome, ProductError)]
    assert rig.host().archive.writes - before <= 2
    rig.reboot(A, "power_loss")
    assert len(here(rig)) == FLOOD + 1


@pytest.mark.parametrize("seed", SEEDS)
def test_commands_of_every_kind_share_writes_in_their_order(keeper: Rig) -> None:
    rig = keeper
    before = rig.host().archive.writes
    story = [
        add(key("stays")),
        add(key("goes"), key("comes-again")),
        RemoveKeys(keys=(key("goes"), key("comes-again"))),
        SetProviders(providers=()),
        add(key("comes-again")),
        EvictKeys(provider=PROVIDER),
        add(key("last")),
    ]
    outcomes = rig.accepted(story)
    assert not [outcome for outcome in outcomes if isinstance(outcome, ProductError)]
    assert rig.host().archive.writes - before <= 2
    assert here(rig) == {"last": (True, True)}
    rig.reboot(A, "power_loss")
    assert here(rig) == {"last": (True, True)}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_console_keeps_its_place_among_commands(keeper: Rig) -> None:
    """What was added before the store was emptied is not stored; what comes later neither."""
    rig = keeper
    outcomes = rig.accepted(
        [add(key("before")), REMOVE_ALL, add(key("after")), RemoveKeys(keys=(key("before"),))]
    )
    assert not [outcome for outcome in outcomes if isinstance(outcome, ProductError)]
    assert isinstance(outcomes[1], EsxcliResult) and outcomes[1].exit_code == 0
    assert here(rig)["after"] == (True, False)
    assert "before" not in here(rig)
    rig.reboot(A, "power_loss")
    assert (rig.summary().stored_keys, rig.summary().key_persistence) == (0, False)
    assert [fields["stored"] for fields in rig.kinds("keys.added")] == [True, False]


def test_a_full_disk_refuses_each_of_a_flood_and_is_tried_twice(keeper: Rig) -> None:
    """Once for the first, once for all others; and all of them are stored when there is room."""
    rig = keeper
    rig.store().full = True
    refused = rig.store().refused
    flood = [add(key(f"k-{number}")) for number in range(FLOOD)]
    outcomes = rig.accepted(flood)
    assert all(isinstance(outcome, SaveFailed) for outcome in outcomes)
    assert not any(outcome.definite for outcome in outcomes)
    assert rig.store().refused - refused <= 2
    assert len(here(rig)) == FLOOD + 1, "in the cache all the same, as after any refused save"
    rig.store().full = False
    again = rig.accepted(flood[:1])
    assert not isinstance(again[0], ProductError)
    rig.reboot(A, "power_loss")
    assert len(here(rig)) == FLOOD + 1


def test_stored_is_what_lies_on_the_disk(keeper: Rig) -> None:
    """A key that the disk refused is not called stored, one whose removal it refused is."""
    rig = keeper
    rig.add_keys(key("old"))
    rig.store().full = True
    assert isinstance(rig.refused_command(add(key("new"))), SaveFailed)
    assert isinstance(rig.refused_command(RemoveKeys(keys=(key("old"),))), SaveFailed)
    said = {"host-key": (True, True), "old": (False, True), "new": (True, False)}
    assert (here(rig), rig.summary().stored_keys) == (said, 2)
    rig.reboot(A, "power_loss")
    assert here(rig) == {"host-key": (True, True), "old": (True, True)}, "as it was said"
    rig.store().full = False
    rig.connect()
    rig.add_keys(key("new"))
    rig.command(RemoveKeys(keys=(key("old"),)))
    assert here(rig) == {"host-key": (True, True), "new": (True, True)}
    assert rig.summary().stored_keys == 2


def test_what_was_refused_and_removed_again_is_in_no_later_write(keeper: Rig) -> None:
    rig = keeper
    rig.store().fail = True
    assert isinstance(rig.refused_command(add(key("a"))), SaveFailed)
    assert isinstance(rig.refused_command(RemoveKeys(keys=(key("a"),))), SaveFailed)
    rig.store().fail = False
    rig.add_keys(key("b"))
    rig.reboot(A, "power_loss")
    assert set(here(rig)) == {"host-key", "b"}


ROUNDS: tuple[tuple[Any, ...], ...] = (
    (add(key("a")), add(key("b")), add(key("c"))),
    (RemoveKeys(keys=(key("a"),)), add(key("d")), RemoveKeys(keys=(key("b"),))),
)


def acknowledged(rounds: list[list[Any]]) -> tuple[set[str], set[str]]:
    """Keys whose arrival was answered, and is all that was asked; those that have left for sure."""
    came: set[str] = set()
    left: set[str] = set()
    leave: set[str] = set()
    for commands, outcomes in zip(ROUNDS, rounds, strict=False):
        for command, outcome in zip(commands, outcomes, strict=True):
            names: set[str] = {str(name.key_id) for name in _keys(command)}
            if isinstance(command, RemoveKeys):
                leave |= names
            if outcome is not None and not isinstance(outcome, ProductError):
                (left if isinstance(command, RemoveKeys) else came).update(names)
    return came - leave, left


def _keys(command: Any) -> tuple[CryptoKeyId, ...]:
    keys: tuple[CryptoKeyId, ...] = command.keys
    return keys


def waited(rig: Rig, fall: Fall, outcomes: list[Any]) -> None:
    for _ in range(200):
        if fall.happened or None not in outcomes:
            return
        rig.sleep(0.001)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["crash", "power_loss"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_was_answered_is_kept_wherever_the_host_falls(seed: int, way: str) -> None:
    """A fall before each call of the disk, with several commands on their way at once."""
    for nth in range(1, 40):
        rig = Rig(seed)
        rig.generations = {}
        ready(rig)
        rounds: list[list[Any]] = []
        with falling(rig, nth, way) as fall:
            for commands in ROUNDS:
                outcomes: list[Any] = [None] * len(commands)
                rounds.append(outcomes)
                if not fall.happened:
                    rig.accept(commands, outcomes)
                    waited(rig, fall, outcomes)
        there, gone = acknowledged(rounds)
        rig.power_off(A, way)
        rig.power_on()
        kept = set(here(rig))
        rig.close()
        assert there <= kept, nth
        assert not gone & kept, nth
        if not fall.happened:
            assert nth > 4
            return
    raise AssertionError("the story has too many points")


def test_a_key_of_a_write_that_a_crash_cut_short_leaves_the_disk_when_it_is_removed() -> None:
    """It lies in the file beside the archive, and the host that boots does not know of it."""
    for nth in range(1, 12):
        rig = Rig(nth)
        rig.generations = {}
        ready(rig)
        rig.store().full = True
        assert isinstance(rig.refused_command(add(key("gone"))), SaveFailed)
        rig.store().full = False  # the next write makes the file anew
        with falling(rig, nth, "crash") as fall:
            rig.accept([add(key("gone"))], [None])
            for _ in range(100):
                rig.sleep(0.001)
        config_key = rig.host().archive.config_key
        rig.power_off(A, "crash")
        rig.power_on()
        rig.connect()
        rig.add_keys(key("another"))
        rig.command(RemoveKeys(keys=(key("gone"),)))
        for path, data in rig.store().images():
            if "state.tgz" in path:
                assert key("gone") not in unpack(data, config_key).configuration.store, (nth, path)
        rig.close()
        if not fall.happened:
            assert nth > 4
            return
    raise AssertionError("the story has too many points")
