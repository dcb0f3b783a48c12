"""Probes that do what a lab does, each with one line and one fix, among them whether this machine
has room for a lab of a size (``lab.topology.demand``).
"""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from lab.machines.attached import find_access
from lab.schema.errors import KeysteadError, explanation_of
from lab.state.checkout import version_of
from lab.state.scratch import state_home
from lab.state.state_folder import LabFolder
from lab.supervise.launching import LabState, state_of
from lab.topology.demand import BUSY_PROCESS, demand_of, hint, usable_cpus
from services.runtime.forking.packets import MARK


class DoctorHealth(StrEnum):
    OK = "ok"
    NOTE = "note"  # worth knowing; a lab runs
    PROBLEM = "problem"


class DoctorFinding(NamedTuple):
    """One line about one thing; ``fix`` is empty when there is nothing to do."""

    probe: str
    health: DoctorHealth
    text: str
    fix: str = ""


TAKE_LIMIT_S = 60
TASKS_TRIED = 4096

# Opens files, or starts processes, as many as it is told; prints how many it got, and why no more.
_OPEN = """
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
got, why = 3, ""
try:
    while got < int(sys.argv[1]):
        os.open(os.devnull, os.O_RDONLY)
        got += 1
except OSError as error:
    why = error.strerror
print(got, why)
"""
_START = """
import os, sys
got, why = 0, ""
read, write = os.pipe()
try:
    while got < int(sys.argv[1]):
        if os.fork() == 0:
            os.close(write)
            os.read(read, 1)  # until the other end closes, however that process ends
            os._exit(0)
        got += 1
except OSError as error:
    why = error.strerror
os.close(write)
for _ in range(got):
    os.wait()
print(got, why)
"""


def _take(code: str, count: int) -> tuple[int, str]:
    """How many of ``count`` a process of its own got, and why no more."""
    try:
        ran = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code, str(count)],
            capture_output=True,
            text=True,
            timeout=TAKE_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        return 0, f"the machine was not done with {count} within {TAKE_LIMIT_S} s"
    got, _, why = ran.stdout.strip().partition(" ")
    return int(got or 0), why or (ran.stderr.strip().splitlines() or [""])[-1]


def open_files(count: int) -> DoctorFinding:
    """Open as many files as the broker or the fullest agent has open."""
    got, why = _take(_OPEN, count)
    if got < count:
        text = f"only {got} files could be opened ({why}); such a lab needs {count} in one process"
        how = f"fewer hosts, or `* hard nofile {count}` in /etc/security/limits.conf"
        return DoctorFinding("open files", DoctorHealth.PROBLEM, text, how)
    return DoctorFinding("open files", DoctorHealth.OK, f"{count} could be opened")


def processes(count: int) -> DoctorFinding:
    """Have as many tasks as the lab has processes and threads, all at once."""
    tried = min(count, TASKS_TRIED)
    got, why = _take(_START, tried)
    most = most_tasks() if got == tried < count else count
    if most < count:
        got, why = most, "a limit of the kernel, the user or the container"
    if got < tried or most < count:
        text = f"only {got} tasks could be started ({why}); such a lab needs {count}"
        how = "more hosts in one process (--pack 50), or raise `ulimit -u` or the container's limit"
        return DoctorFinding("tasks", DoctorHealth.PROBLEM, text, how)
    if tried < count:
        text = f"{tried} could be started, and no limit below {count} is known"
        return DoctorFinding("tasks", DoctorHealth.OK, text)
    return DoctorFinding("tasks", DoctorHealth.OK, f"{count} could be started")


def most_tasks() -> int:
    """The lowest limit on tasks that the kernel tells: its own, the user's, the container's."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    limits = [] if soft == resource.RLIM_INFINITY else [soft]
    for file in ("/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"):
        limits.append(int(Path(file).read_text()))
    for file in ("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"):
        try:
            limits.append(int(Path(file).read_text()))
        except (OSError, ValueError):
            continue  # there is none, or it is "max"
    return min(limits)


def memory(mib: int, hosts: int) -> DoctorFinding:
    """Free memory, of the machine and of the container, against what the lab needs."""
    free = free_mib()
    if free < mib:
        text = f"{free} MiB are free; {hosts} hosts need {mib} MiB"
        how = f"fewer hosts, or more in one process: `keystead up --hosts {hosts} --pack 50`"
        return DoctorFinding("memory", DoctorHealth.PROBLEM, text, how)
    return DoctorFinding(
        "memory", DoctorHealth.OK, f"{free} MiB free; {hosts} hosts need {mib} MiB"
    )


def free_mib(root: Path = Path("/sys/fs/cgroup")) -> int:
    """MiB that may still be taken; a container may have less than the machine has free."""
    import psutil

    free = int(psutil.virtual_memory().available)
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            most = int((root / limit).read_text())
            free = min(free, most - int((root / used).read_text()))
        except (OSError, ValueError):
            continue  # there is none, or it is "max"
    return max(free, 0) >> 20


def processors(hosts: int, pack: int, pace: float) -> DoctorFinding:
    """Processors against what such a lab, with a VM on each host, keeps busy; and the one that a
    process can use against what the hosts in it do."""
    demand, cpus = demand_of(hosts, hosts, pack, pace), usable_cpus()
    text = f"{cpus}; {hosts} hosts at pace {pace:g} keep about {demand.cores:.1f} busy"
    if demand.fullest > BUSY_PROCESS:
        text += f", and the {min(pack, hosts)} in one process {demand.fullest:.1f} of its one"
    limit = hint(hosts, hosts, pack, pace)
    return DoctorFinding("processors", DoctorHealth.NOTE if limit else DoctorHealth.OK, text, limit)


BUILD_PACKAGES = "gcc libc6-dev python3-dev libtss2-dev pkg-config"


def _fix(error: KeysteadError) -> str:
    found = explanation_of(error.id)
    return error.fix or (found.fix if found else "")


def nats_server() -> DoctorFinding:
    """Which nats-server, and whether it is new enough."""
    from lab.brokers.program import find_server

    try:
        return DoctorFinding("nats-server", DoctorHealth.OK, str(find_server()))
    except KeysteadError as error:
        return DoctorFinding("nats-server", DoctorHealth.PROBLEM, str(error), _fix(error))


def broker() -> DoctorFinding:
    """Start a data broker with two identities, and send a message from one to the other."""
    try:
        with _scratch() as folder:
            seconds = asyncio.run(_round_trip(folder))
    except KeysteadError as error:
        return DoctorFinding("broker", DoctorHealth.PROBLEM, str(error), _fix(error))
    except (OSError, TimeoutError, RuntimeError) as error:
        text = f"no message came through a new broker: {type(error).__name__}: {error}"
        return DoctorFinding(
            "broker", DoctorHealth.PROBLEM, text, "allow programs to use 127.0.0.1"
        )
    return DoctorFinding(
        "broker", DoctorHealth.OK, f"a message came back in {1000 * seconds:.1f} ms"
    )


async def _round_trip(folder: Path) -> float:
    """A wire is open when a message that it sent to itself has come back."""
    from lab.brokers.configuration import BrokerKind
    from lab.brokers.identities import Identities
    from lab.brokers.server import Broker
    from protocol.terms import NodeName
    from services.runtime.incarnation import Incarnation
    from services.runtime.real.bus import NatsWire

    node = NodeName("doctor")
    identities = Identities.create(folder, [node], 0)
    server = Broker(folder, identities, BrokerKind.DATA)
    await server.start()
    try:
        wire = NatsWire(server.url, identities.node(node).seed, Incarnation(node, 1))
        begun = time.monotonic()
        await wire.open(_Deaf())
        seconds = time.monotonic() - begun
        await wire.close()
        return seconds
    finally:
        await server.stop()


class _Deaf:
    """A sink that wants nothing; the wire's own probe is all that is sent."""

    def on_message(self, subject: str, reply: str, payload: bytes) -> None: ...
    def on_no_responders(self, subject: str) -> None: ...
    def on_disconnected(self) -> None: ...
    def on_reconnected(self) -> None: ...


def tpm() -> DoctorFinding:
    """Open two real TPMs in process and get random bytes of one."""
    from protocol.tpm.errors import TpmError
    from services.runtime.tpm import backends
    from services.runtime.tpm.library import LibraryMissing

    fix = KeysteadError("KS-TPM-001").fix
    try:
        got = backends.probe_libtpms()
    except LibraryMissing as error:
        return DoctorFinding("tpm", DoctorHealth.PROBLEM, str(error), fix)
    except (TpmError, RuntimeError, OSError) as error:
        return DoctorFinding("tpm", DoctorHealth.PROBLEM, f"a TPM does not work: {error}", fix)
    return DoctorFinding("tpm", DoctorHealth.OK, f"libtpms answers; {len(got)} random bytes")


def headers() -> DoctorFinding:
    """Compile a file against the headers that tpm2-pytss is built with."""
    from services.runtime.tpm import backends

    source = b"#include <Python.h>\n#include <tss2/tss2_esys.h>\nint main(void) { return 0; }\n"
    compiler = shutil.which("gcc") or shutil.which("cc")
    fix = f"apt-get install {BUILD_PACKAGES}"
    # Once tpm2-pytss is built, what builds it is needed for a new environment only.
    bad = DoctorHealth.NOTE if not backends.missing_for_libtpms() else DoctorHealth.PROBLEM
    if compiler is None:
        return DoctorFinding("headers", bad, "there is no C compiler", fix)
    command = [compiler, "-fsyntax-only", "-x", "c", f"-I{sysconfig.get_paths()['include']}", "-"]
    ran = subprocess.run(command, input=source, capture_output=True, timeout=60)
    if ran.returncode != 0:
        said = ran.stderr.decode(errors="replace").strip().splitlines()
        text = next((line for line in said if "error" in line), "the compiler failed")
        return DoctorFinding("headers", bad, text, fix)
    return DoctorFinding("headers", DoctorHealth.OK, "Python.h and tss2_esys.h compile")


def port() -> DoctorFinding:
    """Bind a port of the loopback address, and connect to it."""
    try:
        with socket.socket() as server, socket.socket() as client:
            server.bind(("127.0.0.1", 0))
            server.listen(1)
            client.settimeout(5)
            client.connect(server.getsockname())
    except OSError as error:
        text = f"no port of 127.0.0.1 can be used: {error.strerror or error}"
        few = error.errno in (errno.EMFILE, errno.ENFILE)
        fix = "close programs, or `ulimit -n 1024`" if few else "ip link set lo up"
        return DoctorFinding("port", DoctorHealth.PROBLEM, text, fix)
    return DoctorFinding("port", DoctorHealth.OK, "127.0.0.1 can be bound and reached")


def state_folder() -> DoctorFinding:
    """Write, sync and lock a file in the folder where labs are kept."""
    fix = "free space or permissions there, or another folder with KEYSTEAD_STATE_HOME"
    try:
        home = state_home()
    except KeysteadError as error:
        return DoctorFinding("state folder", DoctorHealth.PROBLEM, str(error), error.fix)
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=home, prefix=".doctor-") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return DoctorFinding("state folder", DoctorHealth.PROBLEM, f"{home}: {error.strerror}", fix)
    free = shutil.disk_usage(home).free >> 20
    if free < 200:
        return DoctorFinding(
            "state folder", DoctorHealth.PROBLEM, f"{home}: only {free} MiB are free", fix
        )
    return DoctorFinding("state folder", DoctorHealth.OK, f"{home} can be written, {free} MiB free")


def same_name(name: str) -> DoctorFinding:
    """Whether a lab of that name is there already."""
    try:
        folder = LabFolder(name)
        folder.record()
    except KeysteadError as error:
        return DoctorFinding("lab", DoctorHealth.PROBLEM, str(error), error.fix)
    match state_of(folder):
        case LabState.RUNNING | LabState.BUSY | LabState.SILENT:
            return DoctorFinding("lab", DoctorHealth.OK, f"the lab {name} runs", "")
        case LabState.KILLED:
            text = f"the supervisor of the lab {name} was killed"
            return DoctorFinding(
                "lab", DoctorHealth.NOTE, text, f"keystead up --name {name}   (it goes on)"
            )
        case LabState.STOPPED:
            return DoctorFinding(
                "lab", DoctorHealth.OK, f"the lab {name} is stopped; `up` goes on with it"
            )
        case None if find_access(name) is not None:
            return DoctorFinding(
                "lab", DoctorHealth.OK, f"the lab {name} is attached: it runs elsewhere"
            )
        case None:
            return DoctorFinding("lab", DoctorHealth.OK, f"the name {name} is free")


def stale_processes() -> DoctorFinding:
    """Processes of labs whose supervisor has gone: there should be none, ever."""
    try:
        stale = sorted(_stale())
    except KeysteadError as error:  # there is no state folder
        return DoctorFinding("processes", DoctorHealth.PROBLEM, str(error), error.fix)
    if not stale:
        return DoctorFinding("processes", DoctorHealth.OK, "no process is left behind by a lab")
    pids = " ".join(map(str, stale))
    return DoctorFinding(
        "processes", DoctorHealth.PROBLEM, f"left behind by a lab: {pids}", f"kill {pids}"
    )


def _stale() -> Iterator[int]:
    import psutil

    mine, labs = os.getuid(), str(state_home() / "labs")
    for process in psutil.process_iter(["pid", "ppid", "uids", "cmdline"]):
        words = process.info["cmdline"] or []
        uids = process.info["uids"]
        if uids is None or uids.real != mine or not words:
            continue
        parent = process.info["ppid"]
        if MARK in words and _supervisor(words) not in (0, parent):
            # An agent has its fork server's command line, and that one as its parent.
            if MARK not in _words(parent):
                yield process.info["pid"]
        if "nats-server" in words[0] and any(w.startswith(labs) for w in words):
            if "lab.supervise.supervisor" not in _words(parent):
                yield process.info["pid"]


def _supervisor(words: list[str]) -> int:
    """Whom a fork server was started by: ``MARK FD OWNER ...``; 0 for one that does not say so."""
    owner = "".join(words[words.index(MARK) + 2 : words.index(MARK) + 3])
    return int(owner) if owner.isdecimal() else 0


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def python() -> DoctorFinding:
    """The interpreter and the packages that the lock names."""
    version = ".".join(map(str, sys.version_info[:3]))
    version += f" ({sys._base_executable}, built {_optimization()})"  # type: ignore[attr-defined]
    missing = [p for p in ("cryptography", "msgspec", "nats-py", "pydantic") if not version_of(p)]
    if missing:
        return DoctorFinding(
            "python",
            DoctorHealth.PROBLEM,
            f"not installed: {', '.join(missing)}",
            "./keystead setup",
        )
    return DoctorFinding("python", DoctorHealth.OK, version)


def _optimization() -> str:
    """Debian's builds have both optimizations, and do not say so."""
    flags = sysconfig.get_config_var("CONFIG_ARGS") or ""
    found = "--enable-optimizations" in flags and "--with-lto" in flags
    if found or sys.base_prefix == "/usr":
        return "with PGO and LTO"
    return "without PGO and LTO: a tenth slower"


@contextmanager
def _scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="keystead-doctor-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def examine(name: str, hosts: int, pack: int = 1, pace: float = 30) -> list[DoctorFinding]:
    """All probes, in the order in which a lab needs what they try; ``hosts``, as many VMs."""
    demand = demand_of(hosts, hosts, pack, pace)
    probes: tuple[Callable[[], DoctorFinding], ...] = (
        python,
        state_folder,
        nats_server,
        port,
        broker,
        tpm,
        headers,
        lambda: open_files(demand.files),
        lambda: processes(demand.tasks),
        lambda: memory(demand.memory_mib, hosts),
        lambda: processors(hosts, pack, pace),
        lambda: same_name(name),
        stale_processes,
    )
    return [probe() for probe in probes]
