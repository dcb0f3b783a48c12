"""What is on the device when an answer leaves, as the kernel sees it: the order of its calls."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from protocol.kmip.payloads import CreateResponse, GetRequest
from tests.lab.kmip.test_serve import client, connections, serving
from tests.lab.kmip.tls import ask
from tests.services.kms.kmip_rig import message, new_key

SENDS: Final = ("sendto", "sendmsg", "write", "writev")
CALLS: Final = ",".join([*SENDS, "fdatasync", "fsync", "recvfrom", "recvmsg", "read"])
BEGUN: Final = re.compile(r"(\d+) +(\w+)\(\d+<(.*?)>(?=[,)]| <)(.*)")
RESUMED: Final = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)")
UNTIL_WRITTEN_S: Final = 0.4
"""Rows of reads, and anchors, are on the device by then."""


def steps(trace: str) -> list[str]:
    """``asked``, ``synced`` and ``answered``, in their order: that something came over TCP, that
    the log of the keys was synced, and that something began to leave over TCP."""
    found, begun = list[str](), dict[str, str]()
    for line in trace.splitlines():
        if (begins := BEGUN.match(line)) is not None:
            thread, call, file, rest = begins.groups()
            begun[thread] = file
            if "TCP" in file and call in SENDS:
                found.append("answered")
        elif (resumes := RESUMED.match(line)) is not None:
            thread, call, rest = resumes.groups()
            file = begun.get(thread, "")
        else:
            continue
        result = re.search(r" = (-?\d+)", rest)
        if result is None or call in SENDS:
            continue
        if "TCP" in file and int(result[1]) > 0:
            found.append("asked")
        if file.endswith("keys.db-wal") and int(result[1]) == 0:
            found.append("synced")
    return found


def answers(found: list[str]) -> list[bool]:
    """Of each answer, whether a sync came between what was asked and it."""
    told, synced = list[bool](), False
    for step in found:
        if step == "answered":
            told.append(synced)
        synced = step == "synced" or (synced and step != "asked")
    return told


@contextmanager
def watched(pid: int, file: Path) -> Iterator[None]:
    """The calls of a process are written to ``file``."""
    words = ["strace", "-f", "-yy", "-s", "0", "-e", f"trace={CALLS}", "-o", str(file)]
    process = subprocess.Popen([*words, "-p", str(pid)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        told = process.stderr.readline()
        if "attached" not in told:
            pytest.skip(f"strace may not look at other processes here: {told}")
        yield
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


def test_how_calls_are_read() -> None:
    """Those of several threads are mixed, a call may end long after it has begun, and numbers of
    threads are columns."""
    trace = """\
10 recvfrom(9<TCP:[127.0.0.1:5696->127.0.0.1:40000]>, ""..., 262144, 0, NULL, NULL) = 90
11    fdatasync(8</k/keys.db-wal> <unfinished ...>
10 recvfrom(9<TCP:[127.0.0.1:5696->127.0.0.1:40000]>, 0x5, 262144, 0, NULL, NULL) = -1 EAGAIN (x)
10 sendto(9<TCP:[127.0.0.1:5696->127.0.0.1:40000]>, ""..., 99, 0, NULL, 0) = 99
11    <... fdatasync resumed>)               = 0
10 sendto(5<UNIX-STREAM:[1->2]>, ""..., 1, 0, NULL, 0) = 1
10 sendto(9<TCP:[127.0.0.1:5696->127.0.0.1:40000]>, ""..., 99, 0, NULL, 0) = 99
10 recvfrom(9<TCP:[127.0.0.1:5696->127.0.0.1:40000]>, ""..., 262144, 0, NULL, NULL) = 90
11 fdatasync(8</k/other>)                   = 0
11 fdatasync(8</k/keys.db-wal>)             = -1 EIO (Input/output error)
10 sendto(9<TCP:[127.0.0.1:5696->127.0.0.1:40000]>, ""..., 99, 0, NULL, 0 <unfinished ...>
11 fdatasync(8</k/keys.db-wal>)             = 0
10 <... sendto resumed>)                  = 99
"""
    found = ["asked", "answered", "synced", "answered", "asked", "answered", "synced"]
    assert steps(trace) == found
    assert answers(found) == [False, True, False]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
async def test_a_new_key_is_on_the_device_before_its_answer_leaves(tmp_path: Path) -> None:
    """With buffered audit too, whose reads show that the order is seen: they wait for nothing."""
    folder, trace = tmp_path / "kmip", tmp_path / "trace"
    with serving(folder, "--audit", "buffered") as (_, told):
        port = connections(folder)
        stream = await port.connect(told["address"], client(folder), within_s=20)
        with watched(told["pid"], trace):
            for _ in range(3):
                [item] = (await ask(stream, message(new_key()))).batch_item
            made = item.response_payload
            assert isinstance(made, CreateResponse)
            get = message(GetRequest(unique_identifier=made.unique_identifier))
            await ask(stream, get)  # the first Get of a key changes it
            await asyncio.sleep(UNTIL_WRITTEN_S)
            await ask(stream, get)
        port.abort()
    assert answers(steps(trace.read_text())) == [True] * 4 + [False]
