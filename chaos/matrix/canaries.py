"""Whether the parts of a lab that must be reachable are: by pings that no service answers."""

from __future__ import annotations

from chaos.matrix.scene import StagingScene

WITHIN_S = 5.0


async def find_unreachable(scene: StagingScene) -> str:
    """Empty when vCenter reaches every key server of both providers, and every host."""
    for to in (*scene.servers, *scene.hosts()):
        found = await scene.lab.canary(scene.vcenter, to, within_s=WITHIN_S + scene.patience)
        if not found.answered:
            return f"{to} does not answer {scene.vcenter}"
    return ""
