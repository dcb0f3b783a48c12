"""Starting and stopping a lab's supervisor from outside: what ``up``, ``down``, ``list`` do; and
what a Lab file comes to, in figures for people.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from lab.machines.attached import no_lab
from lab.schema.errors import KeysteadError
from lab.state.scratch import no_room, state_home
from lab.state.state_folder import LabFolder, LabRecord, Place, put_aside
from lab.topology.demand import hint


class LabSize(msgspec.Struct, frozen=True, kw_only=True):
    """What a Lab file comes to; ``pack`` is the most hosts in one process, ``tpm`` counts hosts
    by what lies under them; machines that ask one of ``pools`` for a place bring more of all."""

    pace: float
    pack: int
    processes: int
    hosts: int
    vms: int
    tpm: dict[str, int]
    pools: tuple[str, ...] = ()


def size_of(file: Mapping[str, Any], added: int = 0, places: Sequence[Place] = ()) -> LabSize:
    """The size of a lab of this file (all overrides applied); ``added`` hosts came later, and those
    of ``places`` with their machines.

    ``processes``: one supervisor, one fork server, the brokers, and the agents.
    """
    clusters, bus = file["clusters"], file.get("bus", {})
    hosts = [c["hosts"] for c in clusters]
    pools = {m["name"]: m["clusters"][0] for m in file.get("machines", ()) if m.get("pool")}
    came = Counter(pools[place.pool] for place in places)
    agents = len(file["kms"]) + len(file["vcenters"]) + added + len(places)
    agents += sum(-(-h["count"] // h["pack"]) for h in hosts)
    tpm: Counter[str] = Counter()
    for cluster in clusters:
        host = cluster["hosts"]
        without = host.get("without_tpm", 0)
        tpm[host["tpm"]] += host["count"] - without + came[cluster["name"]]
        tpm["none"] += without
    each = {c["name"]: c["vms"]["count"] for c in clusters}
    return LabSize(
        pace=file["pace"],
        pack=max((min(h["pack"], h["count"]) for h in hosts if h["count"]), default=1),
        processes=agents + 3 + (0 if bus.get("url") else bus.get("servers", 1)),
        hosts=sum(h["count"] for h in hosts) + added + len(places),
        vms=sum(c["vms"]["count"] for c in clusters if c["name"] not in pools.values())
        + sum(each[cluster] * number for cluster, number in came.items()),
        tpm={backend: count for backend, count in tpm.items() if count},
        pools=tuple(pools),
    )


ROOT = Path(__file__).resolve().parents[2]
# Real seconds: for an orderly stop, then until it is gone when killed.
STOP_LIMIT_S = 30.0
SILENCE_LIMIT_S = 180.0  # real seconds; the supervisor itself gives up long before
KILL_LIMIT_S = 5.0
STAY_LOOK_S = 0.2
Report = Callable[[str, int, int], None]  # text, step, total


class LabState(StrEnum):
    """``killed``: its supervisor ended without being asked; what is on disk is kept."""

    RUNNING = "running"
    BUSY = "busy"  # being started, stopped or removed
    SILENT = "silent"  # it runs, but does not answer
    STOPPED = "stopped"
    KILLED = "killed"


def state_of(folder: LabFolder) -> LabState | None:
    """The state of a lab as its files and processes tell; None when there is none.

    Whether a running one answers is seen by asking it (``lab.local.labs``).
    """
    if not (folder.path / "lab.json").exists():
        return None
    if folder.locked():
        runs = folder.supervisor() and folder.serving()
        return LabState.RUNNING if runs else LabState.BUSY
    return LabState.KILLED if (folder.path / "supervisor").exists() else LabState.STOPPED


def not_running(folder: LabFolder) -> KeysteadError:
    """Why a lab cannot be commanded now, and what to do."""
    again = "" if folder.name == "default" else f" --name {folder.name}"
    match state_of(folder):
        case None:
            return no_lab(folder.name)
        case LabState.STOPPED:
            return KeysteadError(
                "KS-LAB-001",
                f"the lab {folder.name} is stopped; its state is in {folder.path}",
                f"keystead up{again}",
            )
        case LabState.KILLED:
            why = folder.end()
            how = f"ended: {why}" if why else "was killed"
            return KeysteadError(
                "KS-LAB-001",
                f"the supervisor of the lab {folder.name} {how}; its state is in {folder.path}",
                f"`keystead up{again}` goes on from it",
            )
        case LabState.RUNNING | LabState.SILENT:
            return KeysteadError("KS-LAB-010", f"the lab {folder.name} runs, but does not answer")
        case LabState.BUSY:
            return KeysteadError("KS-LAB-002", f"the lab {folder.name} is being started or stopped")


def differences(old: object, new: object, where: str = "") -> list[str]:
    """``path: old -> new`` for each value in which two Lab files differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = [*old, *(n for n in new if n not in old)]
        pairs = [(n, old.get(n), new.get(n)) for n in names]
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        pairs = [(str(n), a, b) for n, (a, b) in enumerate(zip(old, new, strict=True))]
    else:
        return [] if old == new else [f"{where}: {old} -> {new}"]
    return [d for n, a, b in pairs for d in differences(a, b, f"{where}.{n}" if where else n)]


def check_same(
    folder: LabFolder, record: LabRecord, file: dict[str, Any] | None, seed: int | None
) -> None:
    """KS-LAB-006 when a lab that is there differs from what is asked for; None asks nothing."""
    found = [] if file is None else differences(record.file, file)
    if seed is not None and seed != record.seed:
        found.append(f"seed: {record.seed} -> {seed}")
    if found:
        raise KeysteadError(
            "KS-LAB-006",
            f"the lab {folder.name} is there with other options: {'; '.join(found[:5])}",
            f"`keystead down --purge --name {folder.name}` first, or another name with `--name`",
        )


class Interrupted(Exception):
    """Ctrl-C (or SIGTERM, SIGHUP) while the lab started; all is taken back."""


class Start:
    """One start of a supervisor. Use ``run`` once; ``notices`` are what is worth knowing then."""

    notices: tuple[str, ...]

    def __init__(self, folder: LabFolder, record: LabRecord, *, fresh: bool, retain: bool) -> None:
        self.folder, self.record = folder, record
        self.fresh, self.retain = fresh, retain
        self.log, self.notices = folder.log, ()
        self._signals = 0

    def run(self, report: Report, *, timeout_s: float | None, wait: bool) -> tuple[str, ...]:
        """Start it; return when it is ready (``wait``) or has begun, with a line for each thing
        that is not as it should be. Raises ``KeysteadError`` or ``Interrupted``, after everything
        was taken back.

        ``timeout_s``: real seconds that it may take; None: as long as it gets on.
        """
        with self.folder.lock() as lock, self._count_signals():
            if self.fresh and self.folder.record() is not None:
                raise KeysteadError("KS-LAB-002", f"a lab {self.folder.name} was just made")
            process: subprocess.Popen[bytes] | None = None
            ours, theirs = os.pipe()
            try:
                if self.fresh:
                    self.folder.save(self.record)
                elif there := self.folder.record():
                    ways = {"listen": self.record.listen, "invite": self.record.invite}
                    self.folder.save(msgspec.structs.replace(there, **ways))
                process = self._spawn(theirs, lock)
                os.close(theirs)
                theirs = -1
                return self._follow(ours, process, report, timeout_s, wait)
            except (KeysteadError, Interrupted, OSError) as error:
                if process is not None:
                    self._end(process)
                raise self._undo(error) from None
            finally:
                os.close(ours)
                if theirs >= 0:
                    os.close(theirs)

    @contextmanager
    def _count_signals(self) -> Iterator[None]:
        """Signals that end a command are counted, and looked at where nothing is half done."""

        def count(number: int, frame: object) -> None:
            self._signals += 1

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = [signal.signal(number, count) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def _spawn(self, progress: int, lock: int) -> subprocess.Popen[bytes]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        put_aside(self.log)
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "lab.supervise.supervisor",
                    self.folder.name,
                    str(progress),
                    str(lock),
                    str(state_home()),
                ],
                cwd=ROOT,
                env={**os.environ, "KEYSTEAD_STATE_HOME": str(state_home())},
                pass_fds=(progress, lock),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C at the terminal is for the command that waits
            )

    def _follow(
        self,
        source: int,
        process: subprocess.Popen[bytes],
        report: Report,
        timeout_s: float | None,
        wait: bool,
    ) -> tuple[str, ...]:
        """Read progress lines until ready; everything else is an error."""
        begun = heard = time.monotonic()
        data = b""
        while True:
            if self._signals:
                raise Interrupted
            now = time.monotonic()
            if timeout_s is not None and now - begun > timeout_s:
                text = f"the lab did not become ready within {timeout_s:g} s"
                raise KeysteadError("KS-LAB-003", text)
            if now - heard > SILENCE_LIMIT_S:
                text = f"the lab is not ready, and nothing was heard of it for {now - heard:.0f} s"
                raise KeysteadError("KS-LAB-003", text)
            if not select.select([source], [], [], 0.1)[0]:
                continue
            news = os.read(source, 1 << 16)
            if not news:
                raise self._end_error(process)
            heard = now
            *lines, data = (data + news).split(b"\n")
            for line in map(json.loads, lines):
                if line.get("error_id"):
                    error = KeysteadError(line["error_id"], line["text"], line.get("fix", ""))
                    raise error
                if line.get("ready"):
                    self.notices = tuple(line["notices"])
                    return tuple(line["missing"])
                report(line.get("text", ""), line.get("step", 0), line.get("total", 0))
                if not wait:
                    return ()

    def _end_error(self, process: subprocess.Popen[bytes]) -> KeysteadError:
        with suppress(subprocess.TimeoutExpired):
            process.wait(KILL_LIMIT_S)
        lines = self.log.read_text(errors="replace").split("\n") if self.log.exists() else []
        last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        return KeysteadError("KS-LAB-003", f"the supervisor ended ({process.returncode}): {last}")

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Let the supervisor take everything down; kill it if it does not, or at a second
        signal. Its children end with it, however it ends."""
        heard = self._signals
        with suppress(ProcessLookupError):
            process.terminate()
        until = time.monotonic() + STOP_LIMIT_S
        while process.poll() is None and time.monotonic() < until and self._signals == heard:
            time.sleep(0.02)
        if process.poll() is None:
            process.kill()
        process.wait()

    def _undo(self, error: Exception) -> Exception:
        """The error to show, when a new lab's folder has been removed and logs put aside."""
        if isinstance(error, OSError):
            error = no_room(error)
        self.folder.forget_supervisor()
        where = self.folder.path / "logs"
        if self.fresh and not self.retain:
            if isinstance(error, KeysteadError):
                where = keep_logs(self.folder)
            self.folder.purge()
        if not isinstance(error, KeysteadError):
            return error
        left = "" if self.retain or not self.fresh else "; nothing is left of it but its logs"
        fix = error.fix
        if error.id == "KS-LAB-003" and not fix:
            size = size_of(self.record.file)
            fix = hint(size.hosts, size.vms, size.pack, size.pace)
        return KeysteadError(error.id, f"{error}\n  logs: {where}{left}", fix)


def keep_logs(folder: LabFolder) -> Path:
    """Copy the logs of a lab that is about to be removed; where they are now."""
    target = state_home() / "failed" / folder.name
    shutil.rmtree(target, ignore_errors=True)
    with suppress(OSError):
        shutil.copytree(folder.path / "logs", target / "logs")
        for log in folder.path.glob("broker-*/*.log"):
            shutil.copy2(log, target / f"{log.parent.name}-{log.name}")
    return target


def stop(folder: LabFolder) -> bool:
    """End the lab's supervisor and wait until it is gone; False when there was none.

    Orderly: hosts are shut down first. KS-LAB-002 when the lab's lock is held by something
    else than a supervisor and does not become free.
    """
    if not folder.locked():
        folder.forget_supervisor()
        return False
    until = time.monotonic() + STOP_LIMIT_S
    asked = 0
    while folder.locked() and time.monotonic() < until:
        pid = folder.supervisor()
        if pid and pid != asked:
            asked = pid
            _signal(folder, signal.SIGTERM)
            _signal(folder, signal.SIGCONT)  # a stopped one would not hear it
        time.sleep(0.03)
    if folder.locked() and asked:
        _signal(folder, signal.SIGKILL)
        until = time.monotonic() + KILL_LIMIT_S
        while folder.locked() and time.monotonic() < until:
            time.sleep(0.03)
    if folder.locked():
        raise KeysteadError("KS-LAB-002", f"another keystead process works on {folder.name}")
    # Its lock is free a moment before its last file is closed.
    until = time.monotonic() + KILL_LIMIT_S
    while asked and _alive(asked) and time.monotonic() < until:
        time.sleep(0.01)
    folder.forget_supervisor()
    return True


def stay(folder: LabFolder) -> str:
    """Wait for the end of a lab that runs; SIGINT, SIGTERM and SIGHUP stop it in order. Returns why
    it ended; empty when it was stopped."""
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: asked.append(number))
    while folder.locked():
        if asked:
            stop(folder)
            return ""
        time.sleep(STAY_LOOK_S)
    if state_of(folder) is LabState.KILLED:
        return folder.end() or "its supervisor was killed"
    return folder.end()


def _alive(pid: int) -> bool:
    """Whether it still runs; a zombie does not."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def _signal(folder: LabFolder, number: signal.Signals) -> None:
    """Send it to the lab's supervisor, never to a later process with its pid."""
    pid = folder.supervisor()
    if not pid:
        return
    with suppress(ProcessLookupError, PermissionError):
        process = os.pidfd_open(pid)
        try:
            if folder.supervisor() == pid:
                signal.pidfd_send_signal(process, number)
        finally:
            os.close(process)


def purge(folder: LabFolder) -> None:
    """Remove a stopped lab's folder; KS-LAB-002 when somebody started it meanwhile."""
    with folder.lock():
        folder.purge()
