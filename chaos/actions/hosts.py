"""Actions on hosts: commands at their console, what vCenter's administrator does with them, and
what a person does who stands at the machine (boot loader, installer, core dumps).
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import StringConstraints

from chaos.actions.base import Acting, Action, ActionTarget, On, asks_vcenter, on_hosts
from chaos.administration import install_anew
from chaos.faults.base import Params
from chaos.faults.tpms import RECOVERY_OPTION
from chaos.fields import name_validator
from chaos.workload import OperationOutcome
from protocol import names
from protocol.errors import InvalidState
from protocol.messages.agent import NodeRunState, NodeStatus
from protocol.messages.host.crypto import DecryptDump, WriteDump
from protocol.messages.host.session import Esxcli
from protocol.messages.vcenter.inventory import (
    AddHost,
    ClearTpmRecord,
    ConfigureCryptoKey,
    DisableCrypto,
    DisconnectHost,
    EnterMaintenanceMode,
    ExitMaintenanceMode,
    PrepareCrypto,
    ReconnectHost,
)
from protocol.messages.vcenter.vsan import MountVsanDisks
from protocol.terms import ClusterName, NodeName

_PERSISTENCE: Final = ("system", "security", "keypersistence")


class EsxcliParams(On):
    """The words of the command, without ``esxcli``."""

    command: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class AddHostParams(On):
    """To which cluster; to the one that it has in the lab file when that is left out."""

    cluster: Annotated[str, name_validator(names.CLUSTER)] | None = None


class MaintenanceParams(On):
    """``evacuate``: VMs that run there move to other hosts of the cluster first."""

    evacuate: bool = False


class DisableParams(On):
    """``remove_all_stored_keys``: also those that are persisted now."""

    remove_all_stored_keys: bool = False


async def _console(acting: Acting, host: str, words: tuple[str, ...]) -> OperationOutcome:
    """A command that the console refuses has certainly had no effect."""
    done = await acting.ask(NodeName(host), Esxcli(arguments=words))
    if done.exit_code == 0:
        return OperationOutcome("ok", {})
    return OperationOutcome("fail", {"error": done.output.strip(), "exit_code": done.exit_code})


async def _esxcli(acting: Acting, host: str, params: Any) -> OperationOutcome:
    return await _console(acting, host, tuple(params.command.split()))


async def _enable(acting: Acting, host: str, params: Any) -> OperationOutcome:
    return await _console(acting, host, (*_PERSISTENCE, "enable"))


async def _disable(acting: Acting, host: str, params: Any) -> OperationOutcome:
    more = ("--remove-all-stored-keys",) if params.remove_all_stored_keys else ()
    return await _console(acting, host, (*_PERSISTENCE, "disable", *more))


async def _add(acting: Acting, host: str, params: Any) -> OperationOutcome:
    entries = {entry.node: entry for entry in acting.lab.directory().nodes}
    own = entries[NodeName(host)].cluster
    message = AddHost(host=NodeName(host), cluster=ClusterName(params.cluster or own))
    await acting.ask(await acting.vcenter(host), message)
    return OperationOutcome("ok", {})


HOST_ACTIONS: Final = (
    on_hosts("esx.persistence.enable", "have hosts persist the keys that they receive", _enable),
    on_hosts(
        "esx.persistence.disable",
        "have hosts stop persisting keys",
        _disable,
        DisableParams,
        "on: esxi-001, remove_all_stored_keys: true",
    ),
    on_hosts(
        "esx.command",
        "any command of esxcli at the console of hosts",
        _esxcli,
        EsxcliParams,
        "on: esxi-001, command: system settings encryption get",
    ),
    on_hosts(
        "host.enter-maintenance",
        "put hosts into maintenance mode, evacuated or without running VMs",
        asks_vcenter(
            lambda host, params: EnterMaintenanceMode(host=NodeName(host), evacuate=params.evacuate)
        ),
        MaintenanceParams,
    ),
    on_hosts("host.add", "add hosts to a cluster of their vCenter", _add, AddHostParams),
    on_hosts(
        "host.exit-maintenance",
        "end the maintenance mode of hosts",
        asks_vcenter(lambda host, _: ExitMaintenanceMode(host=NodeName(host))),
    ),
    on_hosts(
        "host.disconnect",
        "disconnect hosts from vCenter until they are reconnected",
        asks_vcenter(lambda host, _: DisconnectHost(host=NodeName(host))),
    ),
    on_hosts(
        "host.reconnect",
        "connect vCenter to hosts now",
        asks_vcenter(lambda host, _: ReconnectHost(host=NodeName(host))),
    ),
    on_hosts(
        "host.prepare-crypto",
        "let incapable hosts receive keys, without a host key yet",
        asks_vcenter(lambda host, _: PrepareCrypto(host=NodeName(host))),
    ),
    on_hosts(
        "host.enable-crypto",
        "make hosts safe: push keys, unlock VMs",
        asks_vcenter(lambda host, _: ConfigureCryptoKey(host=NodeName(host))),
    ),
    on_hosts(
        "host.disable-crypto",
        "turn off the encryption mode of hosts, from their next boot on",
        asks_vcenter(lambda host, _: DisableCrypto(host=NodeName(host))),
    ),
    on_hosts(
        "vsan.mount",
        "have hosts mount their vSAN disk groups again",
        asks_vcenter(lambda host, _: MountVsanDisks(host=NodeName(host))),
    ),
    on_hosts(
        "host.clear-tpm",
        "have vCenter forget the recorded TPMs of hosts",
        asks_vcenter(lambda host, _: ClearTpmRecord(host=NodeName(host))),
    ),
)


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


MACHINE_ACTIONS: Final = (
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
