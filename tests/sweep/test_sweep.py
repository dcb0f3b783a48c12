"""The sweep finds nothing where nothing is wrong, and each planted bug at a point that it names."""

from __future__ import annotations

import time

import pytest

from chaos.points import FLAWS, Blow, Happening
from lab.schema.errors import KeysteadError
from lab.simulation.points import CallPlace, Passage
from lab.simulation.snapshot import BuiltLabs, Origin
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.messages.agent import TpmBackend
from protocol.terms import NodeName
from services.runtime.tpm.backends import missing_for_libtpms
from tests.sweep.counting import counted
from tests.sweep.forks import Struck, strike
from tests.sweep.run import sweep
from tests.sweep.stories import STORIES

pytestmark = pytest.mark.sim

ENDS = {Happening.CRASH, Happening.POWER_LOSS}
REFUSALS = {Happening.ENOSPC, Happening.EIO}
SILENT = set(FLAWS)


def swept(
    story: str, only: str, bug: str = "", tpm: TpmBackend = TpmBackend.MODEL, seed: int = 1
) -> list[Struck]:
    patch = f"tests.mutations.bugs:{bug}" if bug else ""
    return sweep(
        (story,),
        tpm=tpm,
        seed=seed,
        jobs=2,
        only=f"{story}/{only}",
        patch=patch,
        report=lambda text, step, total: None,
    )


def wrong(found: list[Struck]) -> list[str]:
    return [f"{each.name}: {text}" for each in found for text in each.played.violations]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("story", "only", "happenings"),
    [
        ("keystore", "*Archive._append_addition:disk.*:[12]@", ENDS | REFUSALS | {Happening.TORN}),
        ("vcenter", "*:db.commit:vcenter:1[0-9]@", ENDS | REFUSALS | SILENT),
        ("native", "*:1@", ENDS | REFUSALS | SILENT | {Happening.TORN}),
        ("kms", "*:keys*:2@", ENDS | REFUSALS | SILENT | {Happening.TORN}),
        ("kms-custody", "*rotation*db.commit*:[2345]@", ENDS | REFUSALS | SILENT),
        ("kms-pair", "kms-[12]:group_commit.*:db.commit:keys:2@", ENDS | REFUSALS | SILENT),
    ],
)
def test_each_store_is_old_or_new_and_nothing_acknowledged_is_lost(
    story: str, only: str, happenings: set[Happening]
) -> None:
    found = swept(story, only)
    assert wrong(found) == []
    assert {each.blow.happening for each in found if each.blow} == happenings
    told = {each.played.found for each in found if each.blow and each.blow.happening in FLAWS}
    assert {each.played.found for each in found} - told <= {"old", "new"}
    assert told <= {"old", "new", "refused"} and ("refused" in told) == bool(told)
    assert all(each.played.step for each in found)


@pytest.mark.slow
@pytest.mark.tpm
@pytest.mark.skipif(bool(missing_for_libtpms()), reason=f"no real TPM: {missing_for_libtpms()}")
def test_a_host_with_a_real_tpm_is_forked_within_its_steps_too() -> None:
    found = swept("keystore", "*disk.replace*:[23]@", tpm=TpmBackend.LIBTPMS)
    assert len(found) == 10
    assert wrong(found) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bug", "story", "only", "told"),
    [
        ("archive_file_unsynced", "keystore", "*disk.replace*", "does not serve again"),
        ("archive_folder_unsynced", "keystore", "*disk.replace*", "a power loss of esxi-001"),
        ("keys_answered_early", "keystore", "*disk.write*:2@", "was acknowledged, and is lost"),
        ("archive_keeps_a_copy", "keystore", "*disk.write*", "was removed, and lies in"),
        ("torn_piece_accepted", "keystore", "*disk.append*:1@*torn", "does not serve again"),
        ("store_keeps_removed", "keystore", "*disk.write*", "was acknowledged, and is not there"),
        (
            "archive_append_unsynced",
            "keystore",
            "*_append_addition:disk.append*:1@*power_loss",
            "changed: ",
        ),
        ("archive_in_place", "keystore", "*disk.write*:1@*torn", "does not serve again"),
        ("archive_refusal_unsaid", "keystore", "*disk.append*:1@*enospc", "and is lost"),
        ("archive_sync_believed", "keystore", "*disk.sync:*:1@*eio", "does not serve again"),
        ("unfinished_archive_read", "keystore", "*disk.sync*new:1@*crash", "a power loss of"),
        (
            "boot_settles_nothing",
            "keystore",
            "*_append_addition:disk.sync*:1@*crash",
            "a power loss of",
        ),
        ("seals_unmeasured", "first-boot", "*extend_log*eio", "does not serve again"),
        ("counter_rises_first", "first-boot", "*:tpm.counter::5@*crash", "does not serve again"),
        ("master_key_unsynced", "first-boot", "*commit:keys:1@after:power", "the master key is"),
        ("destroyed_stays_in_pages", "kms", "*commit*:1@", "was destroyed, and lies in"),
        ("kms_refusal_unsaid", "kms", "*commit:keys:2@within:e", "acknowledged, and is lost"),
        (
            "old_root_stays",
            "kms-custody",
            "*_change*commit:keys:3@before:crash",
            "old root lies in",
        ),
        ("vcenter_shows_unsaved", "vcenter", "*commit:vcenter:8@within:e", "shown as done"),
        ("vcenter_answers_early", "vcenter", "*:1@after:power_loss", "changed: "),
        ("kms_answers_early", "kms", "*:1@after:power_loss", "does not serve again"),
    ],
)
def test_a_planted_bug_is_found(bug: str, story: str, only: str, told: str) -> None:
    found = wrong(swept(story, only, bug))
    assert found
    assert any(told in text for text in found), found


@pytest.mark.slow
def test_rows_that_are_old_are_found_by_their_seal_alone() -> None:
    """Of the pages of that commit the seed draws the one with the rows: no index is at odds."""
    point = "*:10@after:lost_write"
    found = wrong(swept("vcenter", point, "inventory_unsealed", seed=4))
    assert found and "make it the default was shown as done, and is lost" in found[0]
    (whole,) = swept("vcenter", point, seed=4)
    assert (whole.played.found, wrong([whole])) == ("refused", [])


@pytest.mark.slow
def test_what_broke_a_rule_is_told_with_its_records_and_comes_again_by_its_name() -> None:
    found = swept("keystore", "*disk.write*:2@", "keys_answered_early")
    lost = next(each for each in found if each.played.violations)
    assert lost.played.step == "remove a key" and lost.played.acknowledged
    again = swept("keystore", lost.name.partition("/")[2], "keys_answered_early")
    assert [each.played for each in again] == [lost.played]


def test_a_story_that_is_wrong_undisturbed_is_told_and_not_struck() -> None:
    (found,) = swept("keystore", "*disk.write*", "store_keeps_removed")
    assert (found.passage, found.blow, found.name) == (None, None, "keystore/")


@pytest.mark.slow
@pytest.mark.parametrize("story", sorted(STORIES))
def test_every_call_of_disk_database_and_tpm_is_a_point(story: str) -> None:
    """Counted where the service calls, and where the driver tells of it."""
    topology = plan(load("default", **{**STORIES[story].topology, "tpm": "model"}))
    with BuiltLabs(Origin(topology)) as snapshot:
        calls, passed = snapshot.run(1, counted, story)
    commits = {name.replace("db.transact", "db.commit"): count for name, count in calls.items()}
    unseen = {name: count for name, count in commits.items() if name not in passed}
    assert not unseen
    fewer = {name for name, count in commits.items() if passed[name] < count}
    assert {name.split()[1] for name in fewer} <= {"db.commit"}  # several share one
    assert sum(calls.values()) > 20


def test_a_blow_that_never_fell_is_told() -> None:
    """A play that comes by another way than the one whose points were written down."""
    elsewhere = Passage(CallPlace(NodeName("kms"), "nobody", "db.commit", "keys"), 1, 0.0, 1)
    topology = plan(load("default", **{**STORIES["kms"].topology, "tpm": "model"}))
    with BuiltLabs(Origin(topology)) as snapshot:
        (missed,) = snapshot.run(1, strike, "kms", {elsewhere: (Blow(Happening.CRASH),)})
    assert missed.played.violations == ("this play did not pass here",)


@pytest.mark.slow
def test_who_stops_a_sweep_waits_for_no_play_that_goes_on() -> None:
    began = time.monotonic()
    told: list[float] = []

    def stop(text: str, step: int, total: int) -> None:
        told.append(time.monotonic())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(
            ("vcenter",),
            tpm=TpmBackend.MODEL,
            seed=1,
            jobs=1,
            only="vcenter",
            patch="",
            report=stop,
        )
    (first,) = told
    assert time.monotonic() - first < max(2.0, first - began)


def test_a_name_that_fits_no_point_is_refused() -> None:
    with pytest.raises(KeysteadError, match="no point has a name like"):
        swept("keystore", "tape")


@pytest.mark.sweep
@pytest.mark.parametrize("story", sorted(STORIES))
def test_every_point_of_a_store(story: str) -> None:
    tpm = TpmBackend.MODEL if missing_for_libtpms() else TpmBackend.LIBTPMS
    found = swept(story, "", tpm=tpm)
    assert wrong(found) == []
    assert len(found) > 140
