"""The oracle follows what administrators do: each action of a schedule has its place in a fold."""

from __future__ import annotations

import pytest

from chaos.actions import ACTIONS
from chaos.history import Record
from chaos.oracle.fold.fold import MAINTENANCE
from chaos.oracle.fold.upkeep import KNOWN, Upkeep
from chaos.oracle.fold.vms import FOLLOWED, MOVES, POWERS, RECRYPTS, TAKEN


def test_every_action_is_followed() -> None:
    elsewhere = {*FOLLOWED, *MOVES, *POWERS, *RECRYPTS, *TAKEN, *MAINTENANCE}
    assert set(ACTIONS) - set(KNOWN) - elsewhere == set()


@pytest.mark.parametrize(("mode", "lost"), [("onDemand", ""), ("forceEnable", "mode")])
def test_a_run_in_which_hosts_are_forced_is_judged_no_more(mode: str, lost: str) -> None:
    fold = Upkeep({})
    data = {"action": "mode", "n": 1, "cluster": "cluster-a", "mode": mode}
    fold.crypto_mode(Record(seq=1, t=1.0, node="", type="invoke", op="mode", data=data))
    assert fold.lost == lost


def test_what_follows_them_is_there() -> None:
    assert set(KNOWN) <= set(ACTIONS)
    assert all(callable(getattr(Upkeep, name)) for name in KNOWN.values())
