"""A lab for another program: a request on each line of standard input, an answer on each line of
standard output; and the lab as it is now, and how it came to it, as one HTML file, which a
failed test leaves.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec

from chaos.report.filling import fill_template
from chaos.report.shapes import moment
from lab.client import Lab
from lab.local.remote import Remote
from lab.local.vsphere import OfLab, of_lab, serve_apis, variables_of
from lab.schema.answers import Host, LoggedEvent, MachineState, Vm
from lab.schema.answers.lab import EventList
from lab.schema.commands import (
    Command,
    DescribeHost,
    DescribeVm,
    GetFaults,
    GetHosts,
    GetStatus,
    GetVms,
)
from lab.schema.errors import KeysteadError
from lab.schema.tables import document_of
from lab.schema.wire import decode_command
from lab.serve.waiting import all_events, condition, wait_for
from lab.state.state_folder import LabFolder
from lab.vsphere.executor import Serial
from protocol.terms import HostConnectionState, PowerState, VmCryptoState

MOST_EVENTS = 500
MOST_DESCRIBED = 20
"""Hosts, and VMs, that are told with every reason."""


async def session_page(executor: Any, title: str, seed: int | None, requests: list[str]) -> str:
    """What a lab is now, worst first, with the requests that led to it; ``seed`` of a simulation.

    What vCenter cannot answer is left out and said. ``KeysteadError`` when the lab has gone.
    """
    status = await executor.do(GetStatus())
    untold = ""
    hosts: tuple[Host, ...] = ()
    vms: tuple[Vm, ...] = ()
    events: tuple[LoggedEvent, ...] = ()
    try:
        hosts = (await executor.do(GetHosts())).items
        vms = (await executor.do(GetVms())).items
        events = await all_events(executor.do, 0)
    except KeysteadError as error:
        untold = str(error)
    bad_hosts = [host for host in hosts if not _serves(host)]
    bad_vms = [vm for vm in vms if not _runs(vm)]
    values = {
        "title": title,
        "headline": _headline(bad_hosts, len(hosts), bad_vms, len(vms)),
        "well": not (bad_hosts or bad_vms or untold),
        "untold": untold,
        "facts": {"mode": status.mode, "seed": seed, "lab time": moment(status.lab_time)}
        if seed is not None
        else {"mode": status.mode, "lab time": moment(status.lab_time)},
        "faults": (await executor.do(GetFaults())).items,
        "rows": [
            *[await _row(executor, host.host, DescribeHost(host.host), _host(host))
              for host in bad_hosts[:MOST_DESCRIBED]],
            *[await _row(executor, vm.vm, DescribeVm(vm.vm), _vm(vm))
              for vm in bad_vms[:MOST_DESCRIBED]],
        ],
        "rows_more": max(0, len(bad_hosts) - MOST_DESCRIBED)
        + max(0, len(bad_vms) - MOST_DESCRIBED),
        "requests": requests,
        "events": [(_clock(event.at), event) for event in reversed(events[-MOST_EVENTS:])],
        "events_more": max(0, len(events) - MOST_EVENTS),
    }  # fmt: skip
    return fill_template("session.html", values, title=title)


def _serves(host: Host) -> bool:
    connected = host.connection is HostConnectionState.CONNECTED and not host.stale
    return host.machine is MachineState.RUNNING and connected


def _runs(vm: Vm) -> bool:
    return vm.power is PowerState.ON and vm.crypto is not VmCryptoState.LOCKED


def _host(host: Host) -> str:
    return f"{host.machine}, {host.connection}" + (
        f", {host.crypto_state}" * bool(host.crypto_state)
    )


def _vm(vm: Vm) -> str:
    return ", ".join(map(str, filter(None, [vm.power, vm.crypto, vm.stale and "not seen now"])))


def _headline(bad_hosts: list[Host], hosts: int, bad_vms: list[Vm], vms: int) -> str:
    if not (bad_hosts or bad_vms):
        return f"All {hosts} hosts are connected and all {vms} VMs run."
    locked = sum(vm.crypto is VmCryptoState.LOCKED for vm in bad_vms)
    told = f"{len(bad_vms)} of {vms} VMs do not run" + (f", {locked} are locked" * bool(locked))
    return f"{told}; {len(bad_hosts)} of {hosts} hosts do not serve."


async def _row(executor: Any, name: str, question: Any, state: str) -> dict[str, Any]:
    try:
        reasons = (await executor.do(question)).reasons
    except KeysteadError:
        reasons = ()
    return {"name": name, "state": state, "reasons": reasons}


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]


LOOK_EVERY_S = 0.2
"""Real seconds between two looks at a lab of real processes."""
MODES = ("sim", "lab", "running")
REQUESTS = ("open", "do", "wait", "sleep", "trace", "events", "page")
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Opening(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which lab is wanted; ``options`` are those of ``Lab``, ``name`` is of one that runs.
    ``serve``: clients of vSphere shall reach it, by what the answer's ``serving`` has."""

    mode: str = "sim"
    seed: int | None = None
    topology: str | dict[str, Any] = "default"
    options: dict[str, Any] = {}
    name: str = "default"
    serve: bool = False

    def __post_init__(self) -> None:
        for name in sorted(self.options.keys() & {"mode", "seed", "topology"}):
            raise ValueError(f"{name} stands beside options, not among them")


class InputLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of the input; exactly one of ``REQUESTS`` is given."""

    open: Opening | None = None
    do: dict[str, Any] | None = None
    wait: tuple[str, ...] | None = None
    sleep: Seconds | None = None
    trace: bool | None = None
    events: int | None = None
    page: str | None = None
    within_s: Seconds = 600.0
    vcenter: str = ""
    user: str = ""

    def __post_init__(self) -> None:
        given = [name for name in REQUESTS if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"a request has one of {', '.join(REQUESTS)}; this one has {found}")


class HeldLab:
    """The lab of this conversation, one of its own or one that runs."""

    def __init__(self) -> None:
        self._lab: Lab | Remote | None = None
        self._to: Any = None  # an executor of it, see ``lab.vsphere.executor``
        self._changed: Callable[[], Awaitable[None]] = _nobody_looks
        self._paced: float = 1.0
        self._asked: list[str] = []  # since the lab began, for its page
        self._seed: int | None = None
        self._stack = AsyncExitStack()

    async def answer(self, asked: InputLine, line: str) -> Any:
        """What the request of a line comes to, as plain values. Raises ``KeysteadError``."""
        if asked.open is not None:
            opened = await self._open(asked.open)
            self._seed, self._asked = opened["seed"], [line]
            return opened
        self._asked.append(line)
        if self._lab is None:
            raise KeysteadError("KS-USE-001", "no lab is open", 'begin with {"open": {}}')
        try:
            return await self._do(asked, self._lab)
        finally:
            await self._changed()

    async def _do(self, asked: InputLine, lab: Lab | Remote) -> Any:
        if asked.do is not None:
            command: Command[Any] = decode_command(msgspec.msgpack.encode(asked.do))
            return document_of(await self._to.do(command, asked.vcenter, asked.user))
        if asked.wait is not None:
            pause, over = self._looks(asked.within_s)
            wanted = [condition(text) for text in asked.wait]
            return await wait_for(self._to.do, pause, wanted, over)
        if asked.sleep is not None:
            return await self._to.sleep(asked.sleep)
        if asked.events is not None:
            return document_of(EventList(items=await all_events(self._to.do, asked.events)))
        if asked.page is not None:
            return await session_page(self._to, asked.page, self._seed, self._asked[:-1])
        if isinstance(lab, Remote) or lab.mode != "sim":
            raise KeysteadError("KS-USE-003", "only a simulated lab has a trace")
        return await lab.trace()

    async def close(self) -> None:
        """End a lab of its own; one that runs goes on."""
        self._lab, self._changed = None, _nobody_looks
        await self._stack.aclose()

    async def _open(self, wanted: Opening) -> dict[str, Any]:
        await self.close()
        if wanted.mode not in MODES:
            raise KeysteadError("KS-USE-003", f"mode {wanted.mode!r}: one of {', '.join(MODES)}")
        if wanted.mode == "running":
            opened = await self._reach(wanted.name)
        else:
            opened = await self._begin(wanted)
        if wanted.serve:
            opened["serving"] = await self._serve(opened["lab"])
        return opened

    async def _reach(self, name: str) -> dict[str, Any]:
        remote = await self._stack.enter_async_context(Remote(LabFolder(name)))
        status = await remote.do(GetStatus())
        self._lab, self._paced = remote, status.pace

        self._to = OfLab(
            remote.do, lambda seconds: asyncio.sleep(seconds / status.pace), False, remote.do
        )
        return {"mode": "running", "lab": name, "seed": None}

    async def _begin(self, wanted: Opening) -> dict[str, Any]:
        lab = Lab(
            "sim" if wanted.mode == "sim" else "lab",
            topology=wanted.topology,
            seed=wanted.seed,
            **wanted.options,
        )
        self._lab = await self._stack.enter_async_context(lab)
        self._paced = lab.topology.pace
        self._to = of_lab(lab)
        return {"mode": wanted.mode, "lab": lab.topology.name, "seed": lab.seed}

    async def _serve(self, name: str) -> dict[str, str]:
        """Serve the APIs of the lab; what clients read. In a simulation they and the requests of
        this conversation are served in turn."""
        if self._to.virtual:
            self._to = Serial(self._to)
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="keystead-")))
        server, where = await self._stack.enter_async_context(serve_apis(self._to, name, folder))
        self._changed = server.look_again
        return variables_of(where, folder)

    def _looks(self, within_s: float) -> tuple[Callable[[], Any], Callable[[], bool]]:
        if self._to.virtual:
            slept = 0

            async def second() -> None:
                nonlocal slept
                slept += 1
                await self._to.sleep(1.0)

            return second, lambda: slept >= within_s
        until = time.monotonic() + within_s / self._paced

        return lambda: asyncio.sleep(LOOK_EVERY_S), lambda: time.monotonic() > until


async def _nobody_looks() -> None:
    """No client of vSphere has seen what has changed."""


async def serve() -> None:
    """Answer standard input until it ends. Nothing but answers is written to standard output."""
    held = HeldLab()
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    try:
        while line := await asyncio.to_thread(sys.stdin.buffer.readline):
            answers.write(msgspec.json.encode(await _respond(held, line)) + b"\n")
    finally:
        await held.close()


async def _respond(held: HeldLab, line: bytes) -> dict[str, Any]:
    """The answer to one line. Whatever a request comes to, the lab stays for the next one."""
    try:
        return {"answer": await held.answer(_read(line), line.decode().strip())}
    except KeysteadError as error:
        failure = error
    except Exception as error:
        traceback.print_exc()
        failure = KeysteadError("KS-INT-001", f"{type(error).__name__}: {error}")
    return {"error": {"id": failure.id, "text": str(failure), "fix": failure.fix}}


def _read(line: bytes) -> InputLine:
    """The request on a line; KS-USE-003 for what is none."""
    try:
        return msgspec.json.decode(line, type=InputLine)
    except RecursionError:
        raise KeysteadError("KS-USE-003", "the request is nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise KeysteadError("KS-USE-003", str(error)) from None
