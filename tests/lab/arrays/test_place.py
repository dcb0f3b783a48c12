"""A folder is tried by doing, and refused with a reason where it cannot hold a datastore."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.arrays import machines as guests
from lab.arrays.machines import Guest
from lab.arrays.shared_datastore import SharedDatastore, link
from lab.schema.errors import KeysteadError
from protocol.messages.machines import ArrayTold, LookAtArray, ShowArray
from services.runtime.real.datastore import LabArray
from tests.lab.arrays.file_systems import mounted, tried
from tests.lab.arrays.places import ID, place, refused


def test_a_good_folder_fits_and_keeps_nothing_of_a_trial(tmp_path: Path) -> None:
    east = place(tmp_path)
    east.show("far", ID, True)
    assert sorted(p.name for p in (tmp_path / "common").iterdir()) == [
        "lab.json",
        "signs",
        "trials",
    ]
    assert list((tmp_path / "common/trials").iterdir()) == []
    east.close()
    assert list((tmp_path / "common/signs").iterdir()) == []
    LabArray(tmp_path / "common").close()
    place(tmp_path).show("far", ID, False)  # with what a datastore has made there


def test_two_machines_see_each_others_signs_as_long_as_they_are_there(tmp_path: Path) -> None:
    east, west = place(tmp_path), place(tmp_path, "west")
    sign = east.show("far", ID, True)
    west.look(sign)
    east.look(west.show("far", ID, False))
    newer = east.show("far", ID, False)
    assert newer != sign and len(list((tmp_path / "common/signs").iterdir())) == 2


def test_what_an_agent_left_that_was_killed_is_taken_away(tmp_path: Path) -> None:
    work = (
        "import os, sys; from pathlib import Path; "
        "from lab.arrays.shared_datastore import SharedDatastore; "
        f"SharedDatastore(Path(sys.argv[1]), 'common', 'east').show('far', {ID!r}, True); "
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", work, str(tmp_path)], check=True)
    (left,) = (tmp_path / "common/signs").iterdir()
    with pytest.raises(KeysteadError) as unseen:
        place(tmp_path, "west").look(left.name)
    assert unseen.value.id == "KS-ARRAY-002", "its lock is free: nobody has it"
    east = place(tmp_path)
    east.show("far", ID, False)
    assert left not in (tmp_path / "common/signs").iterdir()


def test_another_folder_does_not_have_the_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.arrays.shared_datastore.SEEN_WITHIN_S", 0.2)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    sign = place(tmp_path / "one").show("far", ID, True)
    west = place(tmp_path / "two", "west")
    west.show("far", ID, True)
    with pytest.raises(KeysteadError, match="not the folder that machine east has") as found:
        west.look(sign)
    assert found.value.id == "KS-ARRAY-001" and "--arrays" in found.value.fix


def test_a_mount_point_without_its_mount_is_not_taken_for_a_new_datastore(tmp_path: Path) -> None:
    assert refused(place(tmp_path), fresh=False).id == "KS-ARRAY-001"
    (tmp_path / "common").mkdir()
    assert refused(place(tmp_path), fresh=False).id == "KS-ARRAY-001"
    assert list((tmp_path / "common").iterdir()) == [], "nothing was written"
    assert refused(place(tmp_path / "typo")).id == "KS-ARRAY-004"


def test_what_lies_there_is_this_labs(tmp_path: Path) -> None:
    place(tmp_path).show("far", ID, True)
    for lab, id in (("other", "x"), ("far", "that of an earlier lab of this name")):
        error = refused(place(tmp_path), lab=lab, id=id)
        assert error.id == "KS-ARRAY-006" and "of the lab far" in str(error)
    (tmp_path / "common/lab.json").write_text("{")
    assert refused(place(tmp_path)).id == "KS-ARRAY-006"
    strange = tmp_path / "two"
    (strange / "common").mkdir(parents=True)
    (strange / "common/thesis.doc").touch()
    assert refused(place(strange)).id == "KS-ARRAY-006"
    assert [p.name for p in (strange / "common").iterdir()] == ["thesis.doc"]


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "common").touch()
    assert refused(place(tmp_path)).id == "KS-ARRAY-004"
    assert refused(place(tmp_path / "common")).id == "KS-ARRAY-004"


def test_a_mount_that_is_read_only(tmp_path: Path) -> None:
    at = tmp_path / "mnt"
    at.mkdir()
    said = tried(at, *mounted(f"mount --bind -o ro {at} {at}", f"mount -o remount,bind,ro {at}"))
    assert said.startswith("KS-ARRAY-004") and "Read-only file system" in said


def test_a_file_system_without_room(tmp_path: Path) -> None:
    at = tmp_path / "mnt"
    at.mkdir()
    said = tried(at, *mounted(f"mount -t tmpfs -o size=512k tmpfs {at}"))
    assert said.startswith("KS-ARRAY-005") and "No space left" in said
    assert tried(at, *mounted(f"mount -t tmpfs -o size=16m tmpfs {at}")) == "fits"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bad", "error_id", "text"),
    [
        ("no-locks", "KS-ARRAY-002", "locks are refused: Operation not supported"),
        ("own-locks", "KS-ARRAY-002", "a lock is not seen by the same process"),
        ("no-fsync", "KS-ARRAY-003", "a file cannot be synced: Input/output error"),
        ("no-folders", "KS-ARRAY-003", "a folder cannot be synced: Invalid argument"),
        ("", "fits", ""),
    ],
)
def test_a_file_system_without_locks_or_syncs(
    tmp_path: Path, bad_calls: Path, bad: str, error_id: str, text: str
) -> None:
    at = {"BAD_UNDER": str(tmp_path), "BAD_CALLS": bad}
    said = tried(tmp_path, LD_PRELOAD=str(bad_calls), **at)
    assert said.startswith(error_id) and text in said, said


async def test_a_folder_that_does_not_answer_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guests, "LIMIT_S", 0.1)
    monkeypatch.setattr(SharedDatastore, "show", lambda *_: time.sleep(1.0))
    east = Guest("east", {"common": tmp_path}, lambda run: None)
    told = await east.show(show())
    assert told.error_id == "KS-ARRAY-007" and "0.1 s" in told.text and told.fix
    assert (await east.show(show("none"))).error_id == "KS-ARRAY-004"


def show(array: str = "common") -> ShowArray:
    return ShowArray(run="r", array=array, lab="far", id=ID, fresh=True)


@pytest.mark.slow
async def test_what_an_agent_is_asked_is_what_it_does(tmp_path: Path) -> None:
    runs: list[str] = []
    east = Guest("east", {"common": tmp_path}, runs.append)
    west = Guest("west", {"common": tmp_path}, runs.append)
    told = await east.handlers[ShowArray](show(), "supervisor")
    assert isinstance(told, ArrayTold) and told.sign.startswith("east.") and not told.error_id
    look = LookAtArray(run="r", array="common", sign=told.sign)
    assert await west.handlers[LookAtArray](look, "supervisor") == ArrayTold()
    assert runs == ["r", "r"]
    east.close()
    assert (await west.look(look)).error_id == "KS-ARRAY-001"


def test_a_datastore_that_lay_here_is_not_hidden_by_a_link(tmp_path: Path) -> None:
    own, common = tmp_path / "home/labs/far/arrays", tmp_path / "shared"
    link(own, {"common": common})
    assert os.readlink(own / "common") == str(common / "common")
    link(own, {"common": tmp_path / "other"})
    assert os.readlink(own / "common") == str(tmp_path / "other/common")
    (own / "common").unlink()
    (own / "common/vms").mkdir(parents=True)
    with pytest.raises(KeysteadError) as found:
        link(own, {"common": common})
    assert found.value.id == "KS-ARRAY-001" and str(own / "common") in found.value.fix
