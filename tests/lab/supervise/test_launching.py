"""States of labs, the lock that passes on, differences of Lab files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab.schema.errors import KeysteadError
from lab.serve.machines import what_starts
from lab.state.scratch import state_home
from lab.state.state_folder import LAYOUT, LOG_LIMIT_BYTES, LabFolder, LabRecord, put_aside
from lab.supervise import launching as launch
from lab.supervise.launching import LabState, differences, size_of, state_of
from lab.topology.lab_file import load
from lab.topology.plan import plan


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    return tmp_path


def lab(name: str = "one", **changes: Any) -> LabFolder:
    folder = LabFolder(name)
    folder.make()
    file = load("default", **changes).model_dump(mode="json")
    folder.save(LabRecord(name=name, file=file, seed=1, wall=0.0))
    return folder


def test_states_as_files_and_processes_tell_them() -> None:
    assert state_of(LabFolder("one")) is None
    folder = lab()
    assert state_of(folder) is LabState.STOPPED
    folder.write("supervisor", b"1")  # a pid that is another program's
    assert state_of(folder) is LabState.KILLED and folder.supervisor() == 0
    with folder.lock():
        assert state_of(folder) is LabState.BUSY
    assert launch.stop(folder) is False
    assert state_of(folder) is LabState.STOPPED, "stop does not forget the killed one"


def test_looking_makes_nothing(home: Path) -> None:
    assert not LabFolder("nobody").locked()
    assert list(home.iterdir()) == []


def test_the_lock_is_of_one_holder_and_goes_on_in_a_child_that_inherits_it() -> None:
    folder = lab()
    with folder.lock() as fd:
        with pytest.raises(KeysteadError, match="another keystead process"), folder.lock():
            pass
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, pass_fds=(fd,))
    assert folder.locked(), "the child does not hold it"
    child.communicate(b"\n")
    assert not folder.locked()


def test_a_lock_of_a_removed_folder_is_none() -> None:
    folder = lab()
    with folder.lock():
        folder.purge()
        with folder.lock():
            assert folder.locked()


def test_the_pid_of_a_supervisor_is_checked() -> None:
    folder = lab()
    words = ["-c", "print(flush=True); input()", "lab.supervise.supervisor", "one", "5", "3"]
    words.append(str(state_home()))
    child = subprocess.Popen([sys.executable, *words], stdin=-1, stdout=-1)
    assert child.stdout is not None and child.stdout.readline() == b"\n"
    folder.write("supervisor", str(child.pid).encode())
    assert folder.supervisor() == child.pid
    elsewhere = [sys.executable, *words[:-1], "/another/home"]
    there = subprocess.Popen(elsewhere, stdin=-1, stdout=-1)
    assert there.stdout is not None and there.stdout.readline() == b"\n"
    folder.write("supervisor", str(there.pid).encode())
    assert folder.supervisor() == 0, "one of the same name in another state folder"
    there.communicate(b"\n")
    folder.write("supervisor", str(child.pid).encode())
    other = lab("other")
    other.write("supervisor", str(child.pid).encode())
    assert other.supervisor() == 0, "a supervisor of another lab"
    child.communicate(b"\n")
    assert folder.supervisor() == 0


def test_a_number_that_a_supervisor_was_given_is_no_name_of_a_lab() -> None:
    """Labs may be called ``5``, and a supervisor is told descriptors after its lab's name."""
    words = ["-c", "print(flush=True); input()", "lab.supervise.supervisor", "one", "5", "3"]
    words.append(str(state_home()))
    child = subprocess.Popen([sys.executable, *words], stdin=-1, stdout=-1)
    assert child.stdout is not None and child.stdout.readline() == b"\n"
    five = lab("5")
    five.write("supervisor", str(child.pid).encode())
    assert five.supervisor() == 0, "`down --name 5` would end the lab `one`"
    child.communicate(b"\n")


@pytest.mark.parametrize("name", ["lab.json", "supervisor", "ended", "faults", "lock"])
def test_a_folder_in_place_of_a_file_is_told_or_harmless(name: str) -> None:
    """As a restored backup or a mistyped ``mv`` leaves it; ``list`` looks at all of these."""
    folder = lab()
    (folder.path / name).unlink(missing_ok=True)
    (folder.path / name).mkdir()
    assert (folder.supervisor(), folder.serving(), folder.end()) == (0, False, "")
    assert not folder.locked()
    for act in (folder.record, lambda: folder.write(name, b""), lambda: folder.lock().__enter__()):
        try:
            act()
        except KeysteadError as error:
            assert error.id == "KS-LAB-008" and str(folder.path / name) in str(error)
            assert error.fix and "space" not in error.fix


def test_what_starts_a_lab_again_is_one_command() -> None:
    missing = ["kms: off", "vcenter: off (crash)", "esxi-001: halted (A screen)", "a warning"]
    assert what_starts(missing, "one") == (
        "`keystead host power-on kms vcenter --name one` starts what is off"
    )
    assert what_starts(["esxi-001: halted (A screen)", "a warning"], "one") == ""
    refused = ["kms: off", "vcenter: off (the disk refused at start: Is a directory: vcenter.db)"]
    assert "back from a copy, then `keystead host power-on kms vcenter`" in (
        what_starts(refused, "default")
    )
    many = [f"esxi-{n:03d}: off" for n in range(300)]
    assert what_starts(many, "default").startswith("`keystead down && keystead up`")


def test_differences_name_the_place() -> None:
    old, new = ({"a": [{"n": 1}], "b": {"c": x}, **more} for x, more in ((1, {}), (2, {"d": 3})))
    assert differences(old, old) == []
    assert differences(old, new) == ["b.c: 1 -> 2", "d: None -> 3"]
    assert differences({"a": [1]}, {"a": [1, 2]}) == ["a: [1] -> [1, 2]"]


@pytest.mark.parametrize(
    "changes", [{}, {"hosts": 50}, {"hosts": 7, "pack": 3}, {"kms": 2, "tpm": "none"}]
)
def test_the_summary_counts_what_the_plan_makes(changes: dict[str, Any]) -> None:
    file = load("default", **changes)
    topology, size = plan(file), size_of(file.model_dump(mode="json"))
    assert size.processes == len(topology.groups) + 4
    assert size.vms == len(topology.vms)
    assert size.hosts == sum(s.role.value == "esxi" for s in topology.nodes)
    assert sum(size.tpm.values()) == size.hosts


def test_another_layout_is_told_with_its_fix() -> None:
    folder = lab()
    record = (folder.path / "lab.json").read_bytes()
    folder.write("lab.json", record.replace(b'"layout": %d' % LAYOUT, b'"layout": 0'))
    with pytest.raises(KeysteadError) as raised:
        folder.record()
    assert raised.value.id == "KS-LAB-004" and "--purge --name one" in raised.value.fix


@pytest.mark.parametrize("at", range(0, 1000, 37))
def test_a_damaged_record_is_told_with_its_fix(at: int) -> None:
    """Cut short, or one bit of it turned; none is taken for what it is not."""
    folder = lab()
    record = (folder.path / "lab.json").read_bytes()
    at %= len(record)
    turned = record[:at] + bytes([record[at] ^ 1]) + record[at + 1 :]
    for damaged in (record[:at], turned):
        folder.write("lab.json", damaged)
        try:
            kept = folder.record()
        except KeysteadError as error:
            assert error.id in ("KS-LAB-008", "KS-LAB-004") and "--purge --name one" in error.fix
        else:
            folder.write("lab.json", record)
            assert kept == folder.record(), "blanks only"


def test_a_lab_without_its_record_is_no_new_lab() -> None:
    folder = lab()
    (folder.path / "nodes").mkdir()
    (folder.path / "lab.json").unlink()
    with pytest.raises(KeysteadError, match=r"lab\.json is missing") as raised:
        folder.record()
    assert raised.value.id == "KS-LAB-008"


def test_a_state_folder_that_cannot_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(KeysteadError) as raised, LabFolder("one").lock():
        pass
    assert raised.value.id == "KS-LAB-005"


def test_logs_of_a_failed_start_are_put_aside(home: Path) -> None:
    folder = lab()
    (folder.path / "logs").mkdir()
    (folder.path / "logs" / "supervisor.log").write_text("why")
    (folder.path / "broker-data").mkdir()
    (folder.path / "broker-data" / "nats.log").write_text("port taken")
    kept = launch.keep_logs(folder)
    assert kept == home / "failed" / "one"
    assert (kept / "logs" / "supervisor.log").read_text() == "why"
    assert (kept / "broker-data-nats.log").read_text() == "port taken"
    assert os.listdir(launch.keep_logs(folder)) == os.listdir(kept), "only the last is kept"


@pytest.mark.parametrize(("bytes_more", "aside"), [(0, False), (1, True)])
def test_a_long_log_of_a_supervisor_is_put_aside(bytes_more: int, aside: bool) -> None:
    log = lab().log
    assert not put_aside(log), "there is none yet"
    log.parent.mkdir()
    log.write_bytes(bytes(LOG_LIMIT_BYTES + bytes_more))
    assert put_aside(log) is aside
    assert os.listdir(log.parent) == ["supervisor.log.1" if aside else "supervisor.log"]
