"""Controls of key persistence: who may have it, and that what is removed is gone."""

from __future__ import annotations

from typing import Final

from chaos.faults.link_cut import LinkCutFault
from chaos.matrix import clock
from chaos.matrix.faults.base import OFF_S, DrivenFault
from chaos.matrix.looks import Looks
from chaos.matrix.scene import SERVERS_OF_P, StagingScene, vm_of
from chaos.matrix.terms import Actor, Boot
from chaos.oracle.terms import TableEvent
from protocol.messages.host import Esxcli, HostPowerOnVm
from protocol.terms import HostCryptoState, NodeName

_PERSISTENCE: Final = ("system", "security", "keypersistence")
ENABLE: Final = (*_PERSISTENCE, "enable")
GET: Final = (*_PERSISTENCE, "get")
DISABLE: Final = (*_PERSISTENCE, "disable")
REMOVE: Final = (*_PERSISTENCE, "disable", "--remove-all-stored-keys")


async def verify_refused_without_tpm(scene: StagingScene) -> tuple[bool, str]:
    """A host without TPM refuses to enable it, names the TPM, and shows it as off."""
    host = scene.host(TableEvent.E1, Actor.A)
    done = await scene.lab.ask(host, Esxcli(arguments=ENABLE))
    off, shown = await is_off(scene, host)
    held = done.exit_code != 0 and "TPM" in done.output and off
    return held, f"exit code {done.exit_code}: {done.output.strip()}; {shown}"


async def verify_removed_is_gone(scene: StagingScene, looks: Looks) -> tuple[bool, str]:
    """Stored keys are removed, then the key servers cannot be reached and the host reboots: nothing
    is in its archive, it is not safe, and its VM lacks its key."""
    vm, host = vm_of(TableEvent.E3, "off"), scene.host(TableEvent.E3, Actor.A)
    done = await scene.lab.ask(host, Esxcli(arguments=REMOVE))
    off, shown = await is_off(scene, host)
    stored = await scene.bench.read_archived_keys(host)
    cut = DrivenFault(scene, LinkCutFault(id="removed", a=scene.clients_of_servers, b=SERVERS_OF_P))
    await cut.survey()
    await cut.begin()
    await scene.lab.power_off(host, Boot.POWER_LOSS.way)
    await scene.lab.sleep(OFF_S)
    began = scene.lab.monotonic()
    await scene.lab.power_on(host)
    await scene.give(clock.TASK_S)
    seen = await looks.host(host, since=began)
    asked = await looks.ask(host, HostPowerOnVm(vm=vm))
    await cut.heal()
    unsafe = seen.crypto is HostCryptoState.PREPARED
    held = done.exit_code == 0 and off and not stored and unsafe and asked.key_required
    told = f"{len(stored)} keys in its archive; {seen.crypto} after its boot; {asked.error or 'on'}"
    return held, f"{shown}; {told}"


async def is_off(scene: StagingScene, host: NodeName) -> tuple[bool, str]:
    """Whether the host shows it as off, and what it shows."""
    shown = (await scene.lab.ask(host, Esxcli(arguments=GET))).output.strip()
    return "false" in shown.lower() and "true" not in shown.lower(), shown
