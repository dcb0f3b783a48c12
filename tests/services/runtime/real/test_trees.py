"""The lab's files: a kill between two system calls, and links that lead outside."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.runtime.real.image_folders import ImageFolders

Look = tuple[dict[str, bytes], dict[str, bytes]]  # path -> content: written, synced


class Killed(BaseException):
    """The process ends here."""


def killed_at(call: int, monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> bool:
    """Run ``work`` and end it before its ``call``-th change of a name; False if it has fewer."""
    count = 0

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == call:
                raise Killed
            return original(*arguments, **options)

        return wrapper

    with monkeypatch.context() as patch:
        for name in ("rename", "replace", "unlink", "link", "mkdir", "rmdir"):
            patch.setattr(os, name, counted(getattr(os, name)))
        patch.setattr(Path, "write_bytes", counted(Path.write_bytes))
        patch.setattr(Path, "touch", counted(Path.touch))
        try:
            work()
        except Killed:
            return True
    return False


def durable(trees: ImageFolders, path: str, data: bytes) -> None:
    trees.write(path, data)
    trees.sync(path)
    trees.sync_folder("")


def steps(trees: ImageFolders) -> dict[str, Callable[[], None]]:
    return {
        "write": lambda: trees.write("fresh/file", b"new"),
        "replace": lambda: trees.replace("state.new", "state"),
        "remove": lambda: trees.remove("state"),
        "sync_folder": lambda: trees.sync_folder(""),
        "lose_power": trees.lose_power,
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "points"),
    [("write", 3), ("replace", 4), ("remove", 2), ("sync_folder", 2), ("lose_power", 8)],
)
def test_killed_between_any_two_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, points: int
) -> None:
    """After recovery the disk is as before the step, or as after it."""
    before, after = play(tmp_path / "whole", monkeypatch, step, 0)[1:3]
    call = 0
    while True:
        call += 1
        killed, _, found, trees = play(tmp_path / str(call), monkeypatch, step, call)
        if not killed:
            break
        if step == "write":  # the file may be there and empty, as after any crash in a write
            found[0].pop("fresh/file", None)
        written, synced = found
        assert written in (before[0], after[0])
        assert all(item in (*before[1].items(), *after[1].items()) for item in synced.items())
        assert synced["other"] == b"kept"
        if step == "replace" and written["state"] == b"new":
            # Its content was synced before it moved: syncing its name is all that it lacks.
            trees.sync_folder("")
            assert look(trees)[1]["state"] == b"new"
        in_step(trees)
    assert call - 1 >= points


def play(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: str, kill_at: int
) -> tuple[bool, Look, Look, ImageFolders]:
    """The disk before the step, and as recovered after it or after the kill in it."""
    trees = ImageFolders(folder)
    trees.recover()
    durable(trees, "state", b"old")
    durable(trees, "other", b"kept")
    trees.write("state.new", b"new")
    trees.sync("state.new")
    before = look(trees)
    killed = killed_at(kill_at, monkeypatch, steps(trees)[step])
    again = ImageFolders(folder)
    again.recover()
    found = look(again)
    if step == "write" and not kill_at:
        found[0].pop("fresh/file")
    return killed, before, found, again


def in_step(trees: ImageFolders) -> None:
    """Syncing everything makes the two images one."""
    for path in look(trees)[0]:
        trees.sync(path)
    trees.sync_folder("")
    if "fresh" in trees.names(""):
        trees.sync_folder("fresh")
    whole, shadow = look(trees)
    assert whole == shadow


def look(trees: ImageFolders) -> Look:
    return dict(trees.walk(synced=False)), dict(trees.walk(synced=True))


def test_symbolic_links_lead_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"1")
    trees = ImageFolders(tmp_path / "disk")
    trees.recover()
    trees.write("inside", b"2")
    (tmp_path / "disk/written/door").symlink_to(outside)
    (tmp_path / "disk/written/file").symlink_to(outside / "secret")
    for path in ("door/secret", "file"):
        for call in (
            lambda path=path: trees.read(path),
            lambda path=path: trees.write(path, b"x"),
            lambda path=path: trees.append(path, b"x"),
            lambda path=path: trees.sync(path),
            lambda path=path: trees.remove(path),
            lambda path=path: trees.replace("inside", path),
            lambda path=path: trees.replace(path, "inside"),
        ):
            with pytest.raises(ValueError, match="symbolic link"):
                call()
    for path in ("door",):
        with pytest.raises(ValueError, match="symbolic link"):
            trees.names(path)
        with pytest.raises(ValueError, match="symbolic link"):
            trees.sync_folder(path)
    assert (outside / "secret").read_bytes() == b"1"
    assert os.listdir(outside) == ["secret"]
