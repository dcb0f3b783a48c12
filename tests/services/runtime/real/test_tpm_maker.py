"""All processes of a lab have one maker of TPMs, whoever of them makes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.secret import KeyMaterial
from services.runtime.real.state_files import tpm_maker
from services.runtime.tpm.maker import SECRET_SIZE, TpmMaker


def test_whoever_is_first_makes_it_and_all_others_find_it(tmp_path: Path) -> None:
    first = tpm_maker(tmp_path)
    assert tpm_maker(tmp_path).chain == first.chain
    (tmp_path / "elsewhere").mkdir()
    assert tpm_maker(tmp_path / "elsewhere").chain != first.chain
    [file] = [path for path in tmp_path.iterdir() if path.is_file()]
    assert file.stat().st_mode & 0o777 == 0o600


def test_of_several_at_a_time_the_first_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has linked its own between our look and our link."""
    theirs = b"t" * SECRET_SIZE

    def too_late(fresh: Path, path: Path) -> None:
        path.write_bytes(theirs)
        raise FileExistsError

    monkeypatch.setattr("services.runtime.real.state_files.os.link", too_late)
    assert tpm_maker(tmp_path).chain == TpmMaker(KeyMaterial(theirs)).chain
    assert [path.name for path in tmp_path.iterdir()] == ["maker.key"]
