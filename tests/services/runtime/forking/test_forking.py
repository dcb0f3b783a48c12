"""The fork server: children are clean, their ends are told, and nothing outlives its owner."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.runtime.forking.blocking import ForkServer
from services.runtime.forking.children import ChildProcess, Children
from services.runtime.forking.connection import ForkFailed
from services.runtime.forking.own_forks import OwnForks

TARGETS = "tests.services.runtime.forking.targets"


@pytest.fixture
async def children(tmp_path: Path) -> AsyncIterator[Children]:
    made = Children([TARGETS], tmp_path / "logs" / "fork.err")
    await made.start()
    yield made
    await made.close()


def gone(pid: int) -> bool:
    """No such process, or one that has ended and waits for its parent to notice."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter if it ends while we read
        return True


async def said(child: ChildProcess) -> bytes:
    return await asyncio.get_running_loop().sock_recv(child.line, 4096)


async def test_a_child_is_clean_and_has_a_name(children: Children) -> None:
    child = await children.fork("ks-esxi-001-with-a-long-name", f"{TARGETS}:describe", b"")
    facts = (await said(child)).decode()
    assert facts == "('ks-esxi-001-wit', True, (0, 0), 1, 5, True, True, False)"


async def test_arguments_come_whole_and_a_closed_line_ends_a_child(children: Children) -> None:
    sizes = (0, 1, 60_000)
    found = [await children.fork("x", f"{TARGETS}:echo", bytes(size)) for size in sizes]
    assert children.pids == [child.pid for child in found]
    for child, size in zip(found, sizes, strict=True):
        data = b""
        while len(data) < size:
            data += await said(child)
        child.line.close()
        await child.gone.wait()
        assert child.code == 0
    assert children.pids == []


@pytest.mark.parametrize("code", [0, 3, -int(signal.SIGTERM), -int(signal.SIGKILL)])
async def test_ends_are_told_with_their_code(children: Children, code: int) -> None:
    ended: list[ChildProcess] = []
    children.on_end = ended.append
    child = await children.fork("x", f"{TARGETS}:leave", str(code).encode())
    await child.gone.wait()
    assert child.code == code
    assert ended == [child]


async def test_a_target_that_raises_or_is_not_there_is_told_in_the_log(
    children: Children, tmp_path: Path
) -> None:
    for target in ("fail", "no_such_function"):
        child = await children.fork("x", f"{TARGETS}:{target}", b"on purpose")
        await child.gone.wait()
        assert child.code == 70
    log = (tmp_path / "logs" / "fork.err").read_text()
    assert "RuntimeError: on purpose" in log and "no_such_function" in log


async def test_a_child_whose_end_was_not_heard_yet_is_signalled_in_vain(children: Children) -> None:
    """Its pid is nobody's then, or another's: only the server knows."""
    child = await children.fork("x", f"{TARGETS}:leave", b"7")
    while not gone(child.pid):
        time.sleep(0.01)  # noqa: ASYNC251  (nothing is heard meanwhile)
    assert not child.gone.is_set()
    child.signal(signal.SIGSTOP)
    child.kill()
    await child.gone.wait()
    assert child.code == 7
    child.kill()


async def test_closing_ends_all_also_the_stopped(children: Children) -> None:
    both = [await children.fork("x", f"{TARGETS}:echo", b"!") for _ in range(2)]
    for child in both:
        assert await said(child) == b"!"
    both[0].signal(signal.SIGSTOP)
    await children.close()
    assert all(child.gone.is_set() for child in both)
    for child in both:
        while not gone(child.pid):
            await asyncio.to_thread(time.sleep, 0.01)
    with pytest.raises(ForkFailed, match="not running"):
        await children.fork("x", f"{TARGETS}:echo", b"")


async def test_a_server_that_is_killed_is_noticed(children: Children) -> None:
    child = await children.fork("x", f"{TARGETS}:echo", b"!")
    assert await said(child) == b"!"
    assert children.server_pid is not None
    os.kill(children.server_pid, signal.SIGKILL)
    await child.gone.wait()
    assert child.code == -signal.SIGKILL
    with pytest.raises(ForkFailed):
        await children.fork("x", f"{TARGETS}:echo", b"")


async def test_a_server_that_cannot_load_says_why(tmp_path: Path) -> None:
    made = Children(["no.such.module"], tmp_path / "fork.err")
    with pytest.raises(ForkFailed, match=r"no\.such|'no'"):
        await made.start()
    await made.close()


@pytest.mark.slow
async def test_any_number_of_children_may_be_wanted_at_once(children: Children) -> None:
    """More than the socket to the server holds."""
    wanted = (children.fork("x", f"{TARGETS}:echo", bytes(300)) for _ in range(300))
    assert len({child.pid for child in await asyncio.gather(*wanted)}) == 300


async def test_a_child_that_is_not_heard_ends_its_readers_wait(
    children: Children, tmp_path: Path
) -> None:
    """Its server is killed: the child's own end of the line may still be open for a moment."""
    child = await children.fork("x", f"{TARGETS}:silent", str(tmp_path / "pid").encode())
    heard = asyncio.create_task(child.read(1))
    await asyncio.sleep(0)
    assert children.server_pid is not None
    os.kill(children.server_pid, signal.SIGKILL)
    async with asyncio.timeout(5):
        assert await heard == b""


async def test_closing_ends_the_wait_for_a_child(children: Children) -> None:
    wanted = asyncio.create_task(children.fork("x", f"{TARGETS}:echo", b""))
    await asyncio.sleep(0)
    await children.close()
    async with asyncio.timeout(5):
        with pytest.raises(ForkFailed):
            await wanted


async def test_a_child_that_nobody_waits_for_any_more_is_ended(
    children: Children, tmp_path: Path
) -> None:
    path = tmp_path / "pid"
    wanted = asyncio.create_task(children.fork("x", f"{TARGETS}:silent", str(path).encode()))
    await asyncio.sleep(0)
    wanted.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wanted
    async with asyncio.timeout(10):
        other = await children.fork("x", f"{TARGETS}:echo", b"")
        assert children.pids == [other.pid]
        while not path.exists():  # it may have been killed before it wrote: then there is none
            if not _children_of(children.server_pid) - {other.pid}:
                return
            await asyncio.to_thread(time.sleep, 0.01)
        while not gone(int(path.read_text())):
            await asyncio.to_thread(time.sleep, 0.01)


def _children_of(pid: int | None) -> set[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return {int(word) for word in file.read().split()}


async def test_a_log_that_takes_nothing_ends_no_child() -> None:
    made = Children([TARGETS], Path("/dev/full"))
    await made.start()
    try:
        child = await made.fork("x", f"{TARGETS}:echo", b"!")
        other = await made.fork("x", f"{TARGETS}:leave", str(-int(signal.SIGTERM)).encode())
        await other.gone.wait()
        await (await made.fork("x", f"{TARGETS}:leave", b"0")).gone.wait()
        assert made.pids == [child.pid]
    finally:
        await made.close()


async def test_a_server_without_descriptors_refuses_and_goes_on(tmp_path: Path) -> None:
    made = Children([TARGETS, f"{TARGETS}:few_descriptors"], tmp_path / "fork.err")
    await made.start()
    try:
        for _ in range(2):
            with pytest.raises(ForkFailed, match="descriptor"):
                await made.fork("x", f"{TARGETS}:echo", b"")
    finally:
        await made.close()


def test_an_owner_without_descriptors_is_told_so() -> None:
    server = ForkServer([TARGETS])
    server.start()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        with pytest.raises(ForkFailed, match="Too many open files"):
            server.fork("x", f"{TARGETS}:echo")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    sock, _ = server.fork("x", f"{TARGETS}:echo", b"!")
    assert sock.recv(1) == b"!"
    sock.close()
    server.close()


@pytest.mark.slow
def test_every_child_is_killed_though_nobody_hears_of_ends() -> None:
    """More ends than the socket holds: the server must obey while it cannot tell."""
    server = ForkServer([TARGETS])
    made = [server.fork("x", f"{TARGETS}:echo", b"!") for _ in range(400)]
    for _, pid in made:
        server.kill(pid)
    until = time.monotonic() + 10
    while left := [pid for _, pid in made if not gone(pid)]:
        assert time.monotonic() < until, f"{len(left)} children were not killed"
        time.sleep(0.02)
    for sock, _ in made:
        sock.close()
    server.close()


def test_a_server_that_was_killed_is_started_again() -> None:
    server = ForkServer([TARGETS])
    server.start()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    while not gone(server.pid):
        time.sleep(0.01)
    sock, _ = server.fork("x", f"{TARGETS}:echo", b"!")
    assert sock.recv(1) == b"!"
    sock.close()
    server.close()


def test_a_copy_of_the_owner_has_a_server_of_its_own() -> None:
    """As ``multiprocessing`` makes copies: neither takes what is said to the other."""
    text = f"""
import os, sys
sys.path[:] = {sys.path!r}
from services.runtime.forking.blocking import ForkServer
server = ForkServer([{TARGETS!r}])
server.start()
first, copy = server.pid, os.fork()
for _ in range(20):
    sock, _ = server.fork("x", "{TARGETS}:echo", b"!")
    with sock:
        assert sock.recv(1) == b"!"
assert (server.pid == first) == (copy != 0)
server.close()
assert not copy or os.waitpid(copy, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-W", "error", "-c", text], check=True, timeout=50)


def test_a_preload_with_a_thread_is_refused() -> None:
    server = ForkServer(["tests.services.runtime.forking.threaded:begin"])
    with pytest.raises(ForkFailed, match="2 threads run"):
        server.start()
    server.close()


def test_nothing_outlives_an_owner_that_is_killed_stopped_or_not() -> None:
    """The server is stopped and so is one child: no end of a socket will be read."""
    text = f"""
import os, signal, sys
sys.path[:] = {sys.path!r}
from services.runtime.forking.blocking import ForkServer
server = ForkServer([{TARGETS!r}])
made = [server.fork("x", "{TARGETS}:echo", b"!") for _ in range(2)]
assert all(sock.recv(1) == b"!" for sock, _ in made)
os.kill(made[0][1], signal.SIGSTOP)
os.kill(server.pid, signal.SIGSTOP)
print(server.pid, *(pid for _, pid in made), flush=True)
sys.stdin.read()
"""
    owner = subprocess.Popen(
        [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        pids = [int(word) for word in owner.stdout.readline().split()]
        assert len(pids) == 3 and not any(gone(pid) for pid in pids)
        owner.kill()
        while not all(gone(pid) for pid in pids):
            time.sleep(0.01)


def test_a_process_that_is_no_child_of_it_is_not_killed() -> None:
    """A pid that was a child's may be another's by now."""
    server, stranger = ForkServer([TARGETS]), subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    try:
        sock, pid = server.fork("x", f"{TARGETS}:echo")
        server.kill(stranger.pid)
        server.kill(pid)
        with sock:
            assert sock.recv(1) == b"", "the orders were obeyed in turn"
        assert stranger.poll() is None
    finally:
        server.close()
        stranger.communicate()
    assert stranger.returncode == 0


def in_a_process_with_one_thread(code: str) -> str:
    """What ``code`` prints in a Python of its own: a test's own process may have threads."""
    preamble = f"from {OwnForks.__module__} import OwnForks\nT = {TARGETS!r}\nforks = OwnForks()\n"
    done = subprocess.run(
        [sys.executable, "-c", preamble + code], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_process_with_one_thread_forks_itself_and_its_child_is_as_clean() -> None:
    facts = in_a_process_with_one_thread(
        "print('said once')\n"
        "line, pid = forks.fork('ks-own', T + ':describe')\n"
        "print(line.recv(4096).decode())\n"
        "forks.close()\n"
    )
    assert facts == "said once\n('ks-own', True, (0, 0), 1, 5, True, True, False)\n"


def test_closing_ends_own_children_and_waits_for_them() -> None:
    said = in_a_process_with_one_thread(
        "import os\n"
        "pids = [forks.fork('x', T + ':mute')[1] for _ in range(2)]\n"
        "forks.kill(pids[0])\n"
        "forks.kill(1)  # not ours\n"
        "forks.close()\n"
        "print([os.path.exists(f'/proc/{pid}') for pid in pids])\n"
        "forks.kill(pids[0])\n"
    )
    assert said == "[False, False]\n"


def test_own_children_die_with_a_process_that_is_killed(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    code = (
        f"from {OwnForks.__module__} import OwnForks\nimport os, signal, time\n"
        f"OwnForks().fork('x', {TARGETS + ':silent'!r}, {str(told).encode()!r})\n"
        f"while not os.path.exists({str(told)!r}): time.sleep(0.01)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    child = int(told.read_text())
    while not gone(child):
        time.sleep(0.01)


def test_an_interrupt_right_after_the_fork_unwinds_the_parent_only() -> None:
    """A terminal sends it to both: the child has taken no step of its own then."""
    said = in_a_process_with_one_thread(
        "import os, signal\n"
        "def strike(): os.kill(os.getpid(), signal.SIGINT)\n"
        "os.register_at_fork(after_in_child=strike, after_in_parent=strike)\n"
        "try:\n"
        "    forks.fork('x', T + ':echo', b'lives')\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', len(forks._children))\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "line, _ = forks.fork('x', T + ':echo', b'lives')\n"
        "print(line.recv(5), signal.pthread_sigmask(signal.SIG_BLOCK, ()))\n"
        "forks.close()\n"
    )
    assert said == "interrupted 1\nb'lives' set()\n"


def test_a_process_with_two_threads_does_not_fork_itself() -> None:
    said = in_a_process_with_one_thread(
        "import threading\n"
        "wait = threading.Event()\n"
        "threading.Thread(target=wait.wait).start()\n"
        "try:\n"
        "    forks.fork('ks-own', T + ':describe')\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
        "wait.set()\n"
    )
    assert said == "ForkFailed ks-own was not forked: 2 threads run here\n"


def test_ends_of_own_children_are_told() -> None:
    said = in_a_process_with_one_thread(
        "import os\n"
        "found = [forks.fork('x', T + ':leave', code)[1] for code in (b'3', b'-9')]\n"
        "print([forks.code_of(pid) for pid in found], forks.code_of(found[0]))\n"
        "print(forks.code_of(forks.fork('x', T + ':mute')[1], 0.05))\n"
        "forks.close()\n"
    )
    assert said == "[3, -9] 3\nNone\n"


async def test_others_go_on_while_a_server_that_stands_still_is_ended(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.runtime.forking.connection._END_LIMIT_S", 0.3)
    assert children.server_pid is not None
    os.kill(children.server_pid, signal.SIGSTOP)
    closing, steps = asyncio.create_task(children.close()), 0
    while not closing.done():
        await asyncio.sleep(0.01)
        steps += 1
    assert steps > 3, "the loop stood while the server was waited for"
    assert not children.alive
