"""The number of a node's lives: any one damage leaves it known, and two are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from protocol.errors import InvalidState
from services.runtime.real.state_files import read_boots, write_boots

pytestmark = pytest.mark.lab


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1  # the digit 6 reads 7: a wrong number, not a bad one
    path.write_bytes(data)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(b""),
    "flipped": _flip,
    "deleted": Path.unlink,
    "a folder": _folder,
    "older": lambda path: path.write_bytes(b"2 1ad5be0d\n"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
@pytest.mark.parametrize("file", ["boots", "boots.twin"])
def test_one_damaged_file_changes_nothing(
    tmp_path: Path, file: str, damage: Callable[[Path], object]
) -> None:
    assert read_boots(tmp_path) == 0
    write_boots(tmp_path, 6)
    damage(tmp_path / file)
    assert read_boots(tmp_path) == 6
    write_boots(tmp_path, 7)
    assert read_boots(tmp_path) == 7


@pytest.mark.parametrize("damage", ["truncated", "flipped", "deleted", "a folder"])
def test_two_damaged_files_are_told_and_are_no_first_boot(tmp_path: Path, damage: str) -> None:
    write_boots(tmp_path, 6)
    (tmp_path / "disk").mkdir()
    for file in ("boots", "boots.twin"):
        DAMAGES[damage](tmp_path / file)
    with pytest.raises(InvalidState, match="no readable boot counter"):
        read_boots(tmp_path)


def test_a_life_whose_number_can_be_kept_nowhere_does_not_begin(tmp_path: Path) -> None:
    write_boots(tmp_path, 6)
    for file in ("boots", "boots.twin"):
        _folder(tmp_path / file)
    with pytest.raises(IsADirectoryError):
        write_boots(tmp_path, 7)
