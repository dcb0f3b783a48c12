"""What a person does who stands at a machine: boot loader, installer, core dumps."""

from __future__ import annotations

from typing import Annotated, Any, Final

from chaos.actions.base import Acting, Action, ActionTarget, On, on_hosts
from chaos.faults.base import Params
from chaos.faults.tpms import RECOVERY_OPTION
from chaos.installs import install_anew
from chaos.naming import name_validator
from chaos.workload import OperationOutcome
from protocol import names
from protocol.errors import InvalidState
from protocol.messages.agent import NodeRunState, NodeStatus
from protocol.messages.host import DecryptDump, WriteDump
from protocol.terms import NodeName

NO_KEY: Final = "-".join(["000000"] * 16)
"""Sixteen groups of six digits that no host has drawn: a recovery key in form, and of nobody."""


class ReinstallParams(On):
    """``leftover``: a key of the installation before lies in the TPM, where the new one keeps its
    storage root key."""

    leftover: bool = False


class VcenterParams(Params):
    """Which vCenter; the first when it is left out."""

    vcenter: Annotated[str, name_validator(names.NODE)] | None = None


class DumpParams(On):
    """The dump's name."""

    dump: Annotated[str, name_validator(names.NODE)]


async def _type_wrong_key(acting: Acting, host: str, params: Any) -> OperationOutcome:
    """Its power button, and a wrong recovery key at the loader; ``screen`` is what it then shows.
    A host that is up is left alone."""
    node = NodeName(host)
    status = await acting.lab.status(node)
    if status.state is NodeRunState.RUNNING:
        raise InvalidState(f"{host} runs: nobody stands at its screen")
    if status.state is not NodeRunState.OFF:
        await acting.lab.power_off(node, "power_loss")
    return _build_outcome(await acting.lab.power_on(node, {RECOVERY_OPTION: NO_KEY}))


async def _reinstall(acting: Acting, host: str, params: Any) -> OperationOutcome:
    """A host's first boot makes a configuration anew."""
    return _build_outcome(await install_anew(acting.lab, NodeName(host), leftover=params.leftover))


async def _rebuild(acting: Acting, target: str, params: Any) -> OperationOutcome:
    """A vCenter of the same name that knows nobody."""
    return _build_outcome(await install_anew(acting.lab, await acting.vcenter("", params)))


def _build_outcome(status: NodeStatus) -> OperationOutcome:
    kind = "ok" if status.state is NodeRunState.RUNNING else "fail"
    return OperationOutcome(kind, {"screen": status.screen or ""})


async def _dump(acting: Acting, host: str, params: Any) -> OperationOutcome:
    written = await acting.ask(NodeName(host), WriteDump(dump=params.dump))
    under = written.dump.key
    return OperationOutcome("ok", {"under": str(under or "")})


async def _read_dump(acting: Acting, host: str, params: Any) -> OperationOutcome:
    """What was in it stays out of the history."""
    await acting.ask(NodeName(host), DecryptDump(dump=params.dump))
    return OperationOutcome("ok", {})


ACTIONS: Final = (
    on_hosts(
        "host.wrong-recovery-key",
        "power halted hosts on again, with a wrong recovery key",
        _type_wrong_key,
    ),
    on_hosts(
        "host.reinstall",
        "reinstall hosts: their disks are wiped, their TPMs stay as they are",
        _reinstall,
        ReinstallParams,
    ),
    Action(
        "vcenter.rebuild",
        ActionTarget.NOTHING,
        "reinstall a vCenter with an empty database",
        _rebuild,
        VcenterParams,
        "vcenter: vcenter",
    ),
    on_hosts(
        "host.dump",
        "have the agents of hosts write a core dump, encrypted under the host key",
        _dump,
        DumpParams,
        "on: esxi-001, dump: hostd",
    ),
    on_hosts(
        "host.dump.read",
        "decrypt a core dump of hosts, which needs its host key",
        _read_dump,
        DumpParams,
        "on: esxi-001, dump: hostd",
    ),
)
