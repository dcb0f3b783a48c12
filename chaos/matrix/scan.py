"""Whether something that is encrypted lies anywhere in clear, or was said on the bus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chaos.matrix.scene import StagingScene


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
