"""Probes that do what a lab does, each with one line and one fix.

A probe is a function that gives a ``DoctorFinding``. ``examine`` runs all: nothing is started that
outlives its probe, nothing is written outside a temporary folder and the state folder.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.doctor.findings import DoctorFinding, DoctorHealth
from lab.doctor.size import memory, open_files, processes, processors
from lab.machines.attached import find_access
from lab.schema.errors import KeysteadError, explanation_of
from lab.state.installed import version_of
from lab.state.scratch import state_home
from lab.state.state_folder import LabFolder
from lab.supervise.launching import LabState, state_of
from lab.topology.demand import demand_of
from services.runtime.forking.packets import MARK

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
