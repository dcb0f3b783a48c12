"""What older bundles held is let go as soon as a newer one can be read, and once."""

from __future__ import annotations

from typing import Any

import pytest

from lab.machines import roster
from lab.machines.issuing import Issued, keep
from lab.machines.roster import Replaced
from lab.state.state_folder import LabFolder


async def never() -> None:
    raise AssertionError("nothing is reloaded by a look")


@pytest.fixture
def watch(folder: LabFolder) -> Replaced:
    machines: dict[str, Any] = {"east": None}
    return Replaced(folder.path, machines, never, lambda text: None)


def write(folder: LabFolder, id: str) -> None:
    keep(folder.path, "east", Issued(id=id, digest="d", expires=0.0))


def test_a_newer_bundle_is_seen_once(folder: LabFolder, watch: Replaced) -> None:
    assert watch._look() == [], "there is none yet"
    write(folder, "first")
    assert watch._look() == [], "the first one replaces nothing"
    write(folder, "second")
    assert watch._look() == ["east"]
    assert watch._look() == []


@pytest.mark.parametrize("error", [PermissionError(13, "not now"), None])
def test_one_that_cannot_be_read_for_a_moment_is_looked_at_again(
    folder: LabFolder, watch: Replaced, error: OSError | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing in its folder changes from then on."""
    write(folder, "first")
    watch._look()
    write(folder, "second")
    if error is None:
        path = folder.path / "bundles" / "east.json"
        whole = path.read_bytes()
        path.write_bytes(b"{")  # in place: the folder does not change when it is whole again
        assert watch._look() == []
        path.write_bytes(whole)
    else:

        def refused(*args: Any) -> None:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(roster, "read_issued", refused)
            assert watch._look() == []
    assert watch._look() == ["east"]
