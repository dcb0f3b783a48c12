"""A lab as it is now, and how it came to it, as one HTML file: what a failed test leaves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from chaos.report.axis import moment
from chaos.report.filling import fill_template
from lab.schema.answers import Host, LoggedEvent, MachineState, Vm
from lab.schema.commands import DescribeHost, DescribeVm, GetFaults, GetHosts, GetStatus, GetVms
from lab.schema.errors import KeysteadError
from lab.serve.following import all_events
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
