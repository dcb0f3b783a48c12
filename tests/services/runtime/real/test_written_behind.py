"""Files that stay open to have more written behind them: what else happens to them is seen."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.runtime.real import image_folders as real
from services.runtime.real.image_folders import ENDS, ImageFolders


@pytest.fixture
def trees(tmp_path: Path) -> ImageFolders:
    made = ImageFolders(tmp_path)
    made.recover()
    made.append_synced("log", b"1")
    made.sync_folder("")
    made.append_synced("log", b"2")
    return made


def images(trees: ImageFolders) -> tuple[dict[str, bytes], dict[str, bytes]]:
    return dict(trees.walk(synced=False)), dict(trees.walk(synced=True))


def test_what_is_behind_it_is_durable(trees: ImageFolders) -> None:
    trees.append_synced("log", b"3")
    trees.append("log", b"4")
    assert images(trees) == ({"log": b"1234"}, {"log": b"123"})
    trees.append_synced("log", b"5")
    trees.append_synced("log", b"6")
    assert images(trees) == ({"log": b"123456"}, {"log": b"123456"})


def test_a_power_loss_takes_what_was_not_synced(trees: ImageFolders) -> None:
    trees.append("log", b"3")
    trees.lose_power()
    trees.append_synced("log", b"4")
    trees.append_synced("log", b"5")
    assert images(trees) == ({"log": b"1245"}, {"log": b"1245"})


def replaced(trees: ImageFolders) -> None:
    trees.write("other", b"new")
    trees.replace("other", "log")


CHANGES: dict[str, Callable[[ImageFolders], None]] = {
    "write": lambda trees: trees.write("log", b"new"),
    "remove": lambda trees: trees.remove("log"),
    "replace": replaced,
    "moved away": lambda trees: trees.replace("log", "old"),
    "removed by another": lambda trees: (trees.root / "written" / "log").unlink(),
    "cut by another": lambda trees: os.truncate(trees.root / "written" / "log", 1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_change_is_not_written_past(trees: ImageFolders, change: str) -> None:
    """As a disk does that opens the file each time."""
    plain = ImageFolders(trees.root.with_name(f"{trees.root.name}-plain"))
    plain.recover()
    for data in (b"1", b"2"):
        plain.append("log", data)
        plain.sync("log")
        plain.sync_folder("")
    for one in (trees, plain):
        CHANGES[change](one)
    for data in (b"3", b"4"):
        trees.append_synced("log", data)
        plain.append("log", data)
        plain.sync("log")
    for one in (trees, plain):
        one.sync_folder("")
    assert images(trees) == images(plain)


def test_a_link_in_its_place_is_not_followed(trees: ImageFolders, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    os.rename(tmp_path / "written" / "log", outside)
    (tmp_path / "written" / "log").symlink_to(outside)
    with pytest.raises(ValueError, match="symbolic link"):
        trees.append_synced("log", b"3")
    assert outside.read_bytes() == b"12"


@pytest.mark.parametrize("call", ["write", "fdatasync"])
@pytest.mark.parametrize("at", [1, 2])
def test_what_fails_is_not_taken_as_written(
    trees: ImageFolders, monkeypatch: pytest.MonkeyPatch, call: str, at: int
) -> None:
    """A device that refuses in the midst: the next one finds both images in step again."""
    original, count = getattr(os, call), 0

    def refuse(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count == at:
            raise OSError(5, "refused")
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        refused = False
        try:
            trees.append_synced("log", b"3")
        except OSError:
            refused = True
    assert refused == (call == "write" or at == 1)
    trees.append_synced("log", b"4")
    trees.append_synced("log", b"5")
    written, synced = images(trees)
    assert written == synced
    assert written["log"].endswith(b"45")


def test_it_is_the_same_with_nothing_open(trees: ImageFolders, tmp_path: Path) -> None:
    trees.close()
    trees.append_synced("log", b"3")
    again = ImageFolders(tmp_path)
    again.recover()
    again.append_synced("log", b"4")
    assert images(again) == ({"log": b"1234"}, {"log": b"1234"})


def test_few_files_are_open(trees: ImageFolders) -> None:
    for number in range(3 * ENDS):
        for _ in range(2):
            trees.append_synced(f"log-{number}", b"x")
    before = len(os.listdir("/proc/self/fd"))
    trees.close()
    assert before - len(os.listdir("/proc/self/fd")) == 2 * real.ENDS
