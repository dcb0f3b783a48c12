"""The row outside of the grid about VMs without encryption: no fault of keys is one of theirs."""

from __future__ import annotations

from chaos.matrix import setup
from chaos.matrix.events import EVENTS
from chaos.matrix.scene import StagingScene
from chaos.matrix.twist import Twist


class InClear(Twist):
    """The judged VMs are made anew without encryption, and so without a virtual TPM."""

    async def prepare(self, scene: StagingScene) -> str:
        for event in scene.casts:
            await setup.make_again(scene, EVENTS[event], clear=True)
        wrong = sorted(vm for vm in scene.judged if scene.keys[vm])
        return f"{', '.join(wrong)}: made without encryption, and under a key" if wrong else ""
