"""Hosts: their stored keys removed and wanted again, and their connection to vCenter made anew."""

from __future__ import annotations

from typing import Final

from chaos.observe.look import LabLook
from chaos.workload.base import WITHIN_S, Arrival, Means, OperationOutcome, WorkloadOperation
from protocol.errors import InvalidState, ProductError
from protocol.messages.host import Esxcli
from protocol.messages.vcenter import DisconnectHost, ReconnectHost
from protocol.terms import NodeName, VmName

BARE_S: Final = 15.0
"""Lab seconds that a host is without stored keys."""
RECONNECT_S: Final = 2.0
RECONNECT_WITHIN_S: Final = 300.0
"""Lab seconds from one try to connect a host anew to the next, and in which it is tried."""


async def _persistence_off_on(means: Means, arrival: Arrival) -> OperationOutcome:
    """At the console of the VM's host; the host has no stored keys for a while."""
    seen = await LabLook(means.lab).vms()
    if arrival.target not in seen:
        return OperationOutcome("fail", {"error": "no host answers for it"})
    host, remains = seen[VmName(arrival.target)][0], means.remains
    if remains is None or host in remains.bare:
        return OperationOutcome("fail", {"error": "the host has no stored keys already"})
    await remains.look(host, "before")
    remains.bare[host] = None
    try:
        await _persistence(means, host, "disable", "--remove-all-stored-keys")
    except ProductError as error:
        del remains.bare[host]
        kind = "fail" if error.definite else "info"
        return OperationOutcome(kind, {"host": str(host), "error": type(error).__name__})
    await remains.look(host, "answered")
    await means.lab.sleep(BARE_S)
    await remains.look(host, "held")
    del remains.bare[host]
    try:
        await _persistence(means, host, "enable")
    except ProductError as error:
        return OperationOutcome("info", {"host": str(host), "error": type(error).__name__})
    return OperationOutcome("ok", {"host": str(host)})


async def _persistence(means: Means, host: NodeName, *words: str) -> None:
    """One command of esxcli; ``InvalidState`` with what the console shows when it is refused."""
    command = Esxcli(arguments=("system", "security", "keypersistence", *words))
    done = await means.lab.ask(host, command, within_s=WITHIN_S)
    if done.exit_code:
        raise InvalidState(done.output)
    if means.look is not None:
        await means.look()


async def _reconnect(means: Means, arrival: Arrival) -> OperationOutcome:
    """vCenter ends its session with the VM's host, whatever is under way in it, and opens another.

    It would leave the host alone for good, so that it is asked until it has done it.
    """
    listed = await LabLook(means.lab).vcenter_vms()
    if arrival.target not in listed:
        return OperationOutcome("fail", {"error": "vCenter does not tell its host"})
    host = listed[VmName(arrival.target)].host
    vcenter = await means.vcenter(host)
    try:
        await means.lab.ask(vcenter, DisconnectHost(host=host), within_s=WITHIN_S)
    except ProductError as error:
        kind = "fail" if error.definite else "info"
        return OperationOutcome(kind, {"host": str(host), "error": type(error).__name__})
    tries, until = 0, means.lab.monotonic() + RECONNECT_WITHIN_S
    while means.lab.monotonic() < until:
        tries += 1
        try:
            await means.lab.ask(vcenter, ReconnectHost(host=host), within_s=WITHIN_S)
        except ProductError:
            await means.lab.sleep(RECONNECT_S)
        else:
            return OperationOutcome("ok", {"host": str(host), "tries": tries})
    return OperationOutcome("info", {"host": str(host), "error": "it stays disconnected"})


OPERATIONS: Final = (
    WorkloadOperation(
        "esx.persistence.off_on",
        "vms",
        "remove all stored keys at the console of a VM's host, and enable persistence again",
        _persistence_off_on,
    ),
    WorkloadOperation("host.reconnect", "vms", "reconnect vCenter to the host of a VM", _reconnect),
)
