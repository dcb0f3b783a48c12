"""What happens to a shared folder between two looks: others come at the same time, mounts die or
are replaced, an agent is killed half-way."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lab.arrays import machines as guests
from lab.arrays import shared_datastore as trials
from lab.arrays.machines import Guest, Meeting
from lab.arrays.shared_datastore import SharedDatastore, link
from lab.schema.errors import KeysteadError
from protocol.messages.machines import ArrayTold, ShowArray
from tests.lab.arrays.file_systems import dead_mount, tried
from tests.lab.arrays.places import ID, place, refused


def test_a_mount_whose_server_has_died(tmp_path: Path) -> None:
    at = tmp_path / "mnt"
    at.mkdir()
    said = tried(at, *dead_mount(at))
    assert said.startswith("KS-ARRAY-004") and "Transport endpoint is not connected" in said, said


def test_a_sign_that_cannot_be_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    east = place(tmp_path)
    sign = east.show("far", ID, True)

    def stale(path: Path) -> bool:
        raise OSError(116, os.strerror(116), str(path))

    monkeypatch.setattr(Path, "exists", stale)
    with pytest.raises(KeysteadError) as found:
        place(tmp_path, "west").look(sign)
    assert found.value.id == "KS-ARRAY-004" and "Stale file handle" in str(found.value)


def test_two_labs_that_come_at_once_do_not_share_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)
    tried_it = trials.trial

    def meet(*words: object) -> None:
        tried_it(*words)  # type: ignore[arg-type]
        both.wait(20)  # both have seen that nothing lies there

    monkeypatch.setattr("lab.arrays.shared_datastore.trial", meet)
    said: dict[str, str] = {}

    def come(lab: str) -> None:
        try:
            place(tmp_path, "_here").show(lab, f"id of {lab}", True)
            said[lab] = "fits"
        except KeysteadError as error:
            said[lab] = error.id

    threads = [threading.Thread(target=come, args=(lab,)) for lab in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(said.values()) == ["KS-ARRAY-006", "fits"], said


async def test_two_machines_that_come_at_once_do_not_make_two_datastores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.arrays.shared_datastore.SEEN_WITHIN_S", 0.2)
    (tmp_path / "lab").mkdir()
    meeting = Meeting(tmp_path / "lab", "far")
    machines = []
    for name in ("east", "west"):
        (tmp_path / name).mkdir()
        machines.append(Guest(name, {"common": tmp_path / name}, lambda run: None))
    came = await asyncio.gather(
        *(meeting.come(one, "r", ("common",)) for one in machines), return_exceptions=True
    )
    assert [type(one) for one in came] == [type(None), KeysteadError], came
    assert list((tmp_path / "west").iterdir()) == [], "it would be taken for the lab's when alone"


def test_a_purge_leaves_what_is_not_this_labs(tmp_path: Path) -> None:
    east = place(tmp_path)
    east.show("far", ID, True)
    (tmp_path / "common").rename(tmp_path / "elsewhere")  # as when another mount covers it
    place(tmp_path, "_here").show("other", "another id", True)
    (tmp_path / "common/precious").touch()
    east.remove()
    assert (tmp_path / "common/precious").exists()
    assert (tmp_path / "elsewhere").exists(), "nobody knows what it is now"


def test_a_purge_goes_on_where_another_machine_has_begun(tmp_path: Path) -> None:
    east, west = place(tmp_path), place(tmp_path, "west")
    sign = east.show("far", ID, True)
    west.show("far", ID, False)
    (tmp_path / "common/signs" / sign).unlink()
    east.remove()
    assert list(tmp_path.iterdir()) == []
    west.remove()


@pytest.mark.slow
@pytest.mark.parametrize("part", ["locks", "vms", "signs", "trials", "incoming"])
def test_a_part_that_leads_elsewhere(tmp_path: Path, part: str) -> None:
    """Locks in a folder of each machine's own would keep nobody from running a VM twice."""
    place(tmp_path).show("far", ID, True)
    at = tmp_path / "common" / part
    if at.exists():
        at.rename(tmp_path / "moved")
    (tmp_path / "local").mkdir()
    at.symlink_to(tmp_path / "local")
    error = refused(place(tmp_path), fresh=False)
    assert error.id == "KS-ARRAY-001" and str(at) in str(error)
    assert list((tmp_path / "local").iterdir()) == []


def test_a_link_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "common").symlink_to(tmp_path / "local")
    error = refused(place(tmp_path))
    assert error.id == "KS-ARRAY-004" and "symbolic link" in str(error)
    assert list((tmp_path / "local").iterdir()) == []


@pytest.mark.slow
def test_what_a_trial_left_that_was_killed_is_taken_away(tmp_path: Path) -> None:
    work = (
        "import os, sys; from pathlib import Path; "
        "from lab.arrays import shared_datastore as trial; "
        "from lab.arrays.shared_datastore import SharedDatastore; "
        "trial._locks = lambda at: os._exit(0); "
        "trial._replaces = lambda at: (at / 'room').write_bytes(bytes(1 << 20)); "
        f"SharedDatastore(Path(sys.argv[1]), 'common', sys.argv[2]).show('far', {ID!r}, True)"
    )
    for machine in ("east", "east", "west"):
        subprocess.run([sys.executable, "-c", work, str(tmp_path), machine], check=True)
    assert len(list((tmp_path / "common/trials").iterdir())) == 2, "one of each machine"
    place(tmp_path).show("far", ID, True)
    (left,) = (tmp_path / "common/trials").iterdir()
    assert left.name.startswith(f"{ID}.west."), "of a machine that may be trying it now"


def test_a_kill_before_it_is_written_whose_it_is_leaves_a_folder_for_anybody(
    tmp_path: Path,
) -> None:
    work = (
        "import os, sys; from pathlib import Path; "
        "from lab.arrays import shared_datastore as place; "
        "place.replace_file = lambda *_, **__: os._exit(0); "
        f"place.SharedDatastore(Path(sys.argv[1]), 'common', 'east').show('far', {ID!r}, True); "
        "sys.exit(1)"
    )
    subprocess.run([sys.executable, "-c", work, str(tmp_path)], check=True)
    place(tmp_path, "west").show("other", "another id", True)


@pytest.mark.parametrize("below", ["", "labs", "scratch/x", "labs/far/arrays/common"])
def test_a_shared_folder_is_none_of_the_state_folder(tmp_path: Path, below: str) -> None:
    """Commands remove what nobody holds in ``scratch``, a purge what is in ``labs``."""
    home = tmp_path / "home"
    with pytest.raises(KeysteadError) as found:
        link(home / "labs/far/arrays", {"common": home / below})
    assert found.value.id == "KS-ARRAY-001" and str(home) in str(found.value)


def test_a_second_process_that_is_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_CHILD_LIMIT_S", 0.0)
    assert refused(place(tmp_path)).id == "KS-ARRAY-007"


def test_locks_that_are_refused_to_others_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "_second_process", lambda path: trials.REFUSED)
    error = refused(place(tmp_path))
    assert error.id == "KS-ARRAY-002" and "refused to another process" in str(error)


async def test_a_folder_that_hangs_holds_up_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guests, "CLOSE_LIMIT_S", 0.1)
    monkeypatch.setattr(SharedDatastore, "close", lambda *_: time.sleep(30))
    monkeypatch.setattr(SharedDatastore, "show", lambda *_: "sign")
    east = Guest("east", {"common": tmp_path}, lambda run: None)
    told = await east.show(ShowArray(run="r", array="common", lab="far", id=ID, fresh=True))
    assert told == ArrayTold(sign="sign")
    begun = time.monotonic()
    east.close()
    assert time.monotonic() - begun < 20
