"""A staging before its fault: what a busy machine is late with is waited for, pass by pass."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from chaos.matrix import provider_setup, setup
from chaos.matrix.scene import Void


class Seen:
    """What the steps of a staging came to: ``late`` looks find something wrong at first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, late: int) -> None:
        self.passes = self.used = 0
        self._late = late
        monkeypatch.setattr(setup, "wait_for_pass", self._pass)
        monkeypatch.setattr(setup, "check_healthy", self._check)
        monkeypatch.setattr(setup, "_use_what_is_lacking", self._use)

    async def _pass(self, scene: Any) -> None:
        self.passes += 1

    async def _check(self, scene: Any, plays: Any) -> None:
        if self.passes <= self._late:
            raise Void("esxi-003 lacks the key of e5-run before the fault")

    async def _use(self, scene: Any, plays: Any) -> None:
        self.used += 1


def scene(*, patience: float, keyed_by_use: bool = True) -> Any:
    return SimpleNamespace(patience=patience, keyed_by_use=keyed_by_use)


async def test_a_lab_that_is_healthy_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(monkeypatch, late=2)
    await setup.wait_until_healthy(scene(patience=108.0), ())
    assert (seen.passes, seen.used) == (3, 2)
    seen = Seen(monkeypatch, late=2)
    await setup.wait_until_healthy(scene(patience=108.0, keyed_by_use=False), ())
    assert (seen.passes, seen.used) == (3, 0)


async def test_one_that_does_not_come_to_it_is_void(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(monkeypatch, late=99)
    with pytest.raises(Void, match="lacks the key"):
        await setup.wait_until_healthy(scene(patience=108.0), ())
    assert seen.passes == provider_setup.USE_TRIES


async def test_in_virtual_time_it_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(monkeypatch, late=1)
    with pytest.raises(Void):
        await setup.wait_until_healthy(scene(patience=0.0), ())
    assert (seen.passes, seen.used) == (1, 0)
