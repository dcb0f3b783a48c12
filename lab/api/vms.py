"""VM tasks, asked of vCenter as a vSphere client would, or of the host (``on_host``)."""

from __future__ import annotations

from typing import Any

import msgspec

from lab.api.table import Session, refusal, verb
from lab.errors import KeysteadError
from protocol.errors import ProductError
from protocol.messages.host import GuestChallenge, GuestWrite, HostPowerOffVm, HostPowerOnVm
from protocol.messages.vcenter import (
    CreateVm,
    CryptoUnlock,
    EncryptVm,
    ListVms,
    PowerOffVm,
    PowerOnVm,
    VmInfo,
)
from protocol.terms import ClusterName, NodeName, PowerState, ProviderId, VmName

Row = dict[str, Any]
TASK_LIMIT = 60.0  # lab seconds for a VM task


class PowerArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``vms`` by name, or all of ``host``; ``on_host``: ask the host itself."""

    vms: tuple[str, ...] = ()
    host: str = ""
    on_host: bool = False


async def _chosen(session: Session, arguments: PowerArgument) -> list[tuple[VmName, NodeName]]:
    """The VMs meant, each with its host, in the inventory's order."""
    if not arguments.vms and not arguments.host:
        raise KeysteadError("KS-USE-003", "name VMs, or a host with --host")
    host = session.host(arguments.host) if arguments.host else None
    names = set(session.vms(arguments.vms))
    if arguments.on_host:
        if host is None:
            raise KeysteadError("KS-USE-003", "--on-host needs --host: vCenter is not asked")
        return [(v, host) for v in sorted(names)]
    listed = (await session.lab.ask(session.lab.vcenter, ListVms())).vms
    return [
        (v.vm, v.host)
        for v in listed
        if (not names or v.vm in names) and (host is None or v.host == host)
    ]


async def _power(session: Session, arguments: PowerArgument, on: bool) -> Row:
    """Ask for each; one refusal does not keep the others from being asked."""
    lab = session.lab
    items: list[Row] = []
    for vm, host in await _chosen(session, arguments):
        row: Row = {"vm": vm, "host": host}
        try:
            if arguments.on_host:
                state = await lab.ask(
                    host, HostPowerOnVm(vm=vm) if on else HostPowerOffVm(vm=vm), within=TASK_LIMIT
                )
                row["power"] = state.summary.power.value
            else:
                done = await lab.ask(
                    lab.vcenter, PowerOnVm(vm=vm) if on else PowerOffVm(vm=vm), within=TASK_LIMIT
                )
                row["power"] = done.vm.power.value
        except ProductError as error:
            failure = refusal(error)
            row.update(power=None, error_id=failure.id, error=str(failure))
        items.append(row)
    return {
        "kind": "VmPowerList",
        "wanted": PowerState.ON if on else PowerState.OFF,
        "items": items,
    }


@verb("vm.on", PowerArgument, changes=True)
async def power_on(session: Session, arguments: PowerArgument) -> Row:
    return await _power(session, arguments, True)


@verb("vm.off", PowerArgument, changes=True)
async def power_off(session: Session, arguments: PowerArgument) -> Row:
    return await _power(session, arguments, False)


class CreateArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    vm: str
    cluster: str = ""
    host: str = ""
    encrypted: bool = False
    provider: str = ""


@verb("vm.create", CreateArgument, changes=True)
async def create(session: Session, arguments: CreateArgument) -> Row:
    """Create a VM, off; ``encrypted`` encrypts it under a new key at once."""
    lab = session.lab
    host = session.host(arguments.host) if arguments.host else None
    cluster = arguments.cluster or (lab.spec(host).cluster if host else "")
    if not cluster:
        cluster = next((lab.spec(h).cluster for h in lab.hosts()), "")
    made = await lab.ask(
        lab.vcenter,
        CreateVm(
            operation_id=lab.operation_id(),
            vm=VmName(arguments.vm),
            cluster=ClusterName(cluster),
            host=host,
        ),
        within=TASK_LIMIT,
    )
    lab.know_vm(made.vm.vm)
    if arguments.encrypted:
        return await encrypt(session, EncryptArgument(arguments.vm, arguments.provider))
    return _vm(made.vm)


class EncryptArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    vm: str
    provider: str = ""


@verb("vm.encrypt", EncryptArgument, changes=True)
async def encrypt(session: Session, arguments: EncryptArgument) -> Row:
    lab = session.lab
    provider = ProviderId(arguments.provider) if arguments.provider else None
    done = await lab.ask(
        lab.vcenter,
        EncryptVm(operation_id=lab.operation_id(), vm=session.vm(arguments.vm), provider=provider),
        within=TASK_LIMIT,
    )
    return _vm(done.vm)


class VmArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    vm: str


@verb("vm.unlock", VmArgument, changes=True)
async def unlock(session: Session, arguments: VmArgument) -> Row:
    """CryptoUnlock_Task (LOCK-05)."""
    message = CryptoUnlock(vm=session.vm(arguments.vm))
    return _vm((await session.lab.ask(session.lab.vcenter, message, within=TASK_LIMIT)).vm)


class GuestArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    vm: str
    marker: bytes = b""
    nonce: bytes = b""
    blocks: tuple[int, ...] = ()


async def _home(session: Session, vm: str) -> tuple[VmName, NodeName]:
    listed = (await session.lab.ask(session.lab.vcenter, ListVms())).vms
    return next((v.vm, v.host) for v in listed if v.vm == session.vm(vm))


@verb("guest.write", GuestArgument, changes=True)
async def guest_write(session: Session, arguments: GuestArgument) -> Row:
    """The guest fills its disk with blocks made from a marker."""
    vm, host = await _home(session, arguments.vm)
    answer = await session.lab.ask(host, GuestWrite(vm=vm, marker=arguments.marker))
    return {"kind": "GuestAnswer", **msgspec.to_builtins(answer, builtin_types=(bytes,))}


@verb("guest.challenge", GuestArgument, changes=True)
async def guest_challenge(session: Session, arguments: GuestArgument) -> Row:
    vm, host = await _home(session, arguments.vm)
    message = GuestChallenge(vm=vm, nonce=arguments.nonce, blocks=arguments.blocks)
    answer = await session.lab.ask(host, message)
    return {"kind": "GuestAnswer", **msgspec.to_builtins(answer, builtin_types=(bytes,))}


def _vm(info: VmInfo) -> Row:
    return {
        "kind": "Vm",
        **msgspec.to_builtins(info),
        "key": str(info.key) if info.key else None,
        "missing": [str(k) for k in info.missing],
    }
