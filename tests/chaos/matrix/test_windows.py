"""How long an event is watched, and what the rows outside of the grid change about hosts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from chaos.matrix.clock import EXPIRED_S, RUN_S
from chaos.matrix.events import running
from chaos.matrix.terms import VmKind
from chaos.matrix.twist import ClearOnLeftOut, HostLeftOut
from chaos.oracle.terms import TableFault

UNATTESTED = {TableFault.F3, TableFault.F4, TableFault.F5B}
"""Without Trust Authority, without its network, or without all of it: tokens end."""


@pytest.mark.parametrize("fault", TableFault)
@pytest.mark.parametrize("trusted", [True, False])
async def test_a_vm_is_watched_past_the_end_of_tokens_where_nobody_attests(
    fault: TableFault, trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[float] = []

    async def until(at: float) -> None:
        looked.append(at)

    async def look(*_: object) -> None: ...

    scene: Any = SimpleNamespace(
        book=SimpleNamespace(trail=lambda _: None),
        trusted=trusted,
        t0=0.0,
        until=until,
        lab=SimpleNamespace(monotonic=lambda: looked[-1]),
    )
    staged: Any = SimpleNamespace(fault=fault)
    play = running.RunsOn(scene, staged)
    monkeypatch.setattr(running.RunsOn, "subject", ("vm", "host"))
    monkeypatch.setattr(play.looks, "vm", look)
    monkeypatch.setattr(running, "of_running", lambda *_: None)
    await play.play(100.0)
    assert looked[0] == 100.0 and looked == sorted(set(looked))
    long = trusted and fault in UNATTESTED
    assert (looked[-1] >= 100.0 + EXPIRED_S) is long
    assert looked[-1] == 100.0 + RUN_S or long


@pytest.mark.parametrize("kind", VmKind)
@pytest.mark.parametrize("judged", [True, False])
def test_one_vm_of_a_left_out_host_is_made_anew(kind: VmKind, judged: bool) -> None:
    """The one in clear that is to be encrypted, or the judged one in the row of clear VMs."""
    assert HostLeftOut.moves(kind, judged=judged) is (kind is VmKind.CLEAR)
    assert ClearOnLeftOut.moves(kind, judged=judged) is judged
    assert HostLeftOut.spare == ClearOnLeftOut.spare == 1, "another host is there to take part"
