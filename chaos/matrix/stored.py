"""Controls of key persistence: who may have it, and that what is removed is gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from chaos.faults.links import LinkCutFault
from chaos.matrix import clock
from chaos.matrix.faults.base import OFF_S, DrivenFault
from chaos.matrix.looks import Looks
from chaos.matrix.scene import DUMP, SERVERS_OF_P, StagingScene, vm_of
from chaos.matrix.terms import Actor, Boot
from chaos.oracle.terms import TableEvent
from protocol.messages.host.crypto import Dump, WriteDump
from protocol.messages.host.session import Esxcli
from protocol.messages.host.vms import HostPowerOnVm
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


# Dumps ----------------------------------------------------------------------------------------
#
# Dumps that are written on a host, to see later whether it still has their key.


async def write_dump(scene: StagingScene, host: NodeName) -> Dump:
    """A dump with a marker that only we keep."""
    marker = scene.dumped[host] = scene.draws.token(32)
    written = await scene.lab.ask(host, WriteDump(dump=DUMP, marker=marker))
    scene.book.write("note", host, "dumped", key=str(written.dump.key or ""))
    return written.dump


# Scan -----------------------------------------------------------------------------------------
#
# Whether something that is encrypted lies anywhere in clear, or was said on the bus.


async def find_exposed(scene: StagingScene) -> dict[str, str]:
    """Where what of encrypted VMs and dumps was found in clear: by the VM or host that it is of.

    What guests wrote and sealed in their virtual TPMs, and what is in dumps of safe hosts; every
    disk, every datastore, and every
    message is looked through.
    """
    secrets = [(str(host), marker) for host, marker in scene.dumped.items()]
    for vm, seed in scene.guests.seeds().items():
        if vm not in scene.clear:
            secrets.append((str(vm), seed))
    secrets += [(str(vm), sealed) for vm, sealed in scene.guests.vtpms.secrets().items()]
    found = _in(dict(await scene.bench.at_rest()), secrets)
    for name, secret in secrets:
        if scene.heard.holds(secret):
            found.setdefault(name, "the data bus")
    for name, place in found.items():
        scene.book.write("probe", "", "exposed", of=name, place=place)
    return found


def _in(places: Mapping[str, bytes], secrets: Sequence[tuple[str, bytes]]) -> dict[str, str]:
    return {
        name: place for place, data in places.items() for name, secret in secrets if secret in data
    }
