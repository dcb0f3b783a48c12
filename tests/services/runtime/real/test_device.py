"""What is promised as durable has reached the device: judged by the system calls, not by us.

``strace`` is a package of every distribution; without it, or where no process may be traced, the
tests are skipped and counted.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab
ROOT = Path(__file__).parents[4]
CALLS = "write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir"
SYNC = r"f(?:data)?sync\(\d+<{}>\)"
RENAME = r'rename\w*\((?:AT_FDCWD\S*, )?"{}", (?:AT_FDCWD\S*, )?"{}"'
WRITE = r"p?write(?:64)?\(\d+<{}>"

# Promise -> the calls that must have been made in this order when it is answered.
NEEDED: dict[str, tuple[str, ...]] = {
    "disk.sync": (SYNC.format("disk/written/bank/state"),),
    "disk.sync_folder": (SYNC.format("disk/written/bank"),),
    "replace_durably": (
        WRITE.format("disk/written/bank/state.new"),
        SYNC.format("disk/written/bank/state.new"),
        RENAME.format("disk/written/bank/state.new", "disk/written/bank/state"),
        SYNC.format("disk/written/bank"),
        SYNC.format("disk/written"),
    ),
    "database.transact": (
        WRITE.format("disk/databases/d.db-wal"),
        SYNC.format("disk/databases/d.db-wal"),
    ),
    "datastore.write": (
        SYNC.format("array/vms"),
        WRITE.format("array/incoming/[^>]+"),
        SYNC.format("array/incoming/[^>]+"),
        RENAME.format('array/incoming/[^"]+', "array/vms/vm/file"),
        SYNC.format("array/vms/vm"),
    ),
    "datastore.write again": (
        WRITE.format("array/incoming/[^>]+"),
        SYNC.format("array/incoming/[^>]+"),
        RENAME.format('array/incoming/[^"]+', "array/vms/vm/file"),
        SYNC.format("array/vms/vm"),
    ),
    "datastore.write_blocks": (
        WRITE.format("array/vms/vm/file"),
        SYNC.format("array/vms/vm/file"),
    ),
    "datastore.remove": (r"rmdir|AT_REMOVEDIR", SYNC.format("array/vms")),
    "tpm.store": (
        WRITE.format("tpm/.esxi-001.nv[^>]+"),
        SYNC.format("tpm/.esxi-001.nv[^>]+"),
        RENAME.format('tpm/.esxi-001.nv[^"]+', "tpm/esxi-001.nv"),
        SYNC.format("tpm"),
    ),
}


def _traced(folder: Path, module: str) -> list[str]:
    """The calls of all threads in the order in which they ended; skipped where none is shown."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed here")
    trace = folder / "trace"
    words = (strace, "-f", "-y", "-s", "60", "-e", f"trace={CALLS}", "-o", str(trace))
    done = subprocess.run(
        (*words, sys.executable, "-m", module, str(folder)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and re.search(r"ptrace|PTRACE|not permitted", done.stderr):
        pytest.skip("no process may be traced here")
    assert done.returncode == 0, done.stderr
    return _whole_calls(trace.read_text().replace(f"{folder}/", ""))


def _whole_calls(text: str) -> list[str]:
    """Calls that another thread cut in two are joined, where they ended."""
    begun: dict[str, str] = {}
    calls = []
    for line in text.splitlines():
        thread, _, rest = line.partition(" ")
        call = rest.lstrip()
        if call.endswith("<unfinished ...>"):
            begun[thread] = call.removesuffix("<unfinished ...>").rstrip()
            continue
        resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", call)
        calls.append(begun.pop(thread, "") + resumed[1] if resumed else call)
    return calls


def _between(calls: list[str], promise: str) -> list[str]:
    marks = [
        at
        for at, call in enumerate(calls)
        if call.startswith("write(") and f"{promise}\\n" in call and "<marks>" in call
    ]
    begin, end = marks
    return calls[begin + 1 : end]


def _missing(calls: list[str], needed: tuple[str, ...]) -> str:
    """The first needed call that is not there after the ones before it; empty if none is."""
    rest = iter(calls)
    for pattern in needed:
        if not any(re.search(pattern, call) and "= -1" not in call for call in rest):
            return pattern
    return ""


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("promises")
    return _traced(folder, "tests.services.runtime.real.promises")


@pytest.mark.parametrize("promise", list(NEEDED))
def test_a_promise_is_answered_when_the_device_has_it(calls: list[str], promise: str) -> None:
    made = _between(calls, promise)
    assert _missing(made, NEEDED[promise]) == "", made


@pytest.mark.parametrize("promise", list(NEEDED))
def test_the_judgement_sees_what_is_left_out(calls: list[str], promise: str) -> None:
    """Without its syncs no promise passes: the look itself can fail."""
    made = [call for call in _between(calls, promise) if "sync(" not in call]
    assert _missing(made, NEEDED[promise]) != ""
