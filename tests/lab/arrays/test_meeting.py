"""Whether the folders of all machines are one: who comes is compared with who is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.arrays.machines import HERE, Guest, KnownDatastore, Meeting
from lab.schema.errors import KeysteadError
from protocol.errors import TimedOut
from protocol.messages.machines import ArrayTold, LookAtArray

COMMON = ("common",)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.arrays.shared_datastore.SEEN_WITHIN_S", 0.2)


@pytest.fixture
def meeting(tmp_path: Path) -> Meeting:
    return made(tmp_path)


def made(tmp_path: Path) -> Meeting:
    (tmp_path / "lab").mkdir(exist_ok=True)
    return Meeting(tmp_path / "lab", "far")


def guest(folder: Path, machine: str = "east", kind: type[Guest] = Guest) -> Guest:
    folder.mkdir(exist_ok=True)
    return kind(machine, {"common": folder}, lambda run: None)


async def refused(meeting: Meeting, one: Guest) -> KeysteadError:
    with pytest.raises(KeysteadError) as found:
        await meeting.come(one, "r", COMMON)
    return found.value


async def test_machines_with_one_folder_come_and_come_again(
    meeting: Meeting, tmp_path: Path
) -> None:
    for name in (HERE, "east", "west", "east"):
        await meeting.come(guest(tmp_path / "common", name), "r", COMMON)
    assert meeting.read_known("common").made


async def test_two_folders_are_told_apart(meeting: Meeting, tmp_path: Path) -> None:
    await meeting.come(guest(tmp_path / "common", HERE), "", COMMON)
    empty = await refused(meeting, guest(tmp_path / "empty"))
    assert empty.id == "KS-ARRAY-001" and str(empty).startswith("on machine east: ")
    (tmp_path / "copy/common").mkdir(parents=True)
    owner = (tmp_path / "common/common/lab.json").read_bytes()
    (tmp_path / "copy/common/lab.json").write_bytes(owner)
    copy = await refused(meeting, guest(tmp_path / "copy"))
    assert copy.id == "KS-ARRAY-001" and "not the folder that machine east has" in str(copy)
    assert str(copy).startswith("here: "), "each looks for the other's sign, this one first"
    await meeting.come(guest(tmp_path / "common"), "r", COMMON)


async def test_a_lab_that_goes_on_knows_its_datastore(meeting: Meeting, tmp_path: Path) -> None:
    await meeting.come(guest(tmp_path / "common"), "r", COMMON)
    later = made(tmp_path)
    assert (
        later.read_known("common")
        == meeting.read_known("common")
        == KnownDatastore(later.read_known("common").id, True)
    )
    assert (await refused(later, guest(tmp_path / "empty", "west"))).id == "KS-ARRAY-001"
    await later.come(guest(tmp_path / "common", "west"), "r", COMMON)
    other = Meeting(tmp_path / "another lab", "far")
    (tmp_path / "another lab").mkdir()
    assert (await refused(other, guest(tmp_path / "common", "west"))).id == "KS-ARRAY-006"
    (tmp_path / "lab/shared/common.json").write_text("{")
    assert (await refused(made(tmp_path), guest(tmp_path / "common"))).id == "KS-ARRAY-006"


class Nolock(Guest):
    """Its file system has locks of its own: what others hold is not seen."""

    async def look(self, message: LookAtArray) -> ArrayTold:
        for sign in (self._places["common"].path / "signs").iterdir():
            if sign.name == message.sign:
                sign.rename(sign.with_name("held"))
                sign.touch()  # the same name, and no lock of it
        return await super().look(message)


async def test_locks_that_are_not_seen_elsewhere(meeting: Meeting, tmp_path: Path) -> None:
    await meeting.come(guest(tmp_path / "common"), "r", COMMON)
    error = await refused(meeting, guest(tmp_path / "common", "west", Nolock))
    assert error.id == "KS-ARRAY-002" and "another machine holds is not seen" in str(error)


class Away(Guest):
    """It was there, and does not answer any more."""

    async def look(self, message: LookAtArray) -> ArrayTold:
        raise TimedOut("no answer")


class Lost(Guest):
    """It is known not to be there."""

    @property
    def there(self) -> bool:
        return False

    async def look(self, message: LookAtArray) -> ArrayTold:
        raise AssertionError("it is not asked")


async def test_who_is_away_is_not_waited_for(meeting: Meeting, tmp_path: Path) -> None:
    for name, kind in (("gone", Lost), ("away", Away), ("east", Guest)):
        await meeting.come(guest(tmp_path / "common", name, kind), "r", COMMON)
    (tmp_path / "copy/common").mkdir(parents=True)
    owner = (tmp_path / "common/common/lab.json").read_bytes()
    (tmp_path / "copy/common/lab.json").write_bytes(owner)
    error = await refused(meeting, guest(tmp_path / "copy", "west"))
    assert error.id == "KS-ARRAY-001" and str(error).startswith("on machine east: ")
