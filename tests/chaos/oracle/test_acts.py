"""The oracle follows what administrators do: each action of a schedule has its place in a fold."""

from __future__ import annotations

from typing import Final

from chaos.actions import ACTIONS
from chaos.oracle.fold.fold import MAINTENANCE
from chaos.oracle.fold.upkeep import KNOWN, Upkeep
from chaos.oracle.fold.vms import FOLLOWED, MOVES, POWERS, RECRYPTS, TAKEN

NOT_FOLLOWED: Final = {"cluster.crypto-mode"}
"""After these a run is judged no more."""


def test_every_action_is_followed_but_those() -> None:
    elsewhere = {*FOLLOWED, *MOVES, *POWERS, *RECRYPTS, *TAKEN, *MAINTENANCE}
    assert set(ACTIONS) - set(KNOWN) - elsewhere == NOT_FOLLOWED
    assert not NOT_FOLLOWED & {*KNOWN, *elsewhere}


def test_what_follows_them_is_there() -> None:
    assert set(KNOWN) <= set(ACTIONS)
    assert all(callable(getattr(Upkeep, name)) for name in KNOWN.values())
