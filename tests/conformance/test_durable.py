"""A file that is replaced durably is the old one or the new one after a loss of power anywhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from services.runtime.durable import replace_durably
from services.runtime.incarnation import WayDown
from services.runtime.ports import Disk
from tests.conformance.storage import Bench, both

CALLS = ["write", "sync", "replace", "sync_folder"]


class _Cut(Exception):
    """The power goes here."""


class _CutShort:
    """A disk that lets ``calls`` calls through and then fails; notes their names."""

    def __init__(self, disk: Disk, calls: int) -> None:
        self._disk, self._left = disk, calls
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any) -> Any:
            if self._left == 0:
                raise _Cut
            self._left -= 1
            self.called.append(name)
            return await getattr(self._disk, name)(*args)

        return call


@both
async def test_it_is_whole_and_durable_on_return_also_in_a_new_folder(bench: Bench) -> None:
    life, disk = bench.boot()
    await replace_durably(disk, "bank/state", b"first", folder_is_new=True)
    life, disk = await bench.after(life, WayDown.POWER_LOSS)
    assert await disk.read("bank/state") == b"first"
    await replace_durably(disk, "bank/state", b"second")
    life, disk = await bench.after(life, WayDown.POWER_LOSS)
    assert await disk.read("bank/state") == b"second"
    assert await disk.list("bank") == ("state",)


@both
async def test_power_lost_between_any_two_calls_leaves_the_old_or_the_new(bench: Bench) -> None:
    life, disk = bench.boot()
    for calls in range(len(CALLS) + 1):
        await replace_durably(disk, "state", b"old")
        short = _CutShort(disk, calls)
        if calls < len(CALLS):
            with pytest.raises(_Cut):
                await replace_durably(cast(Disk, short), "state", b"new")
        else:
            await replace_durably(cast(Disk, short), "state", b"new")
        assert short.called == CALLS[:calls]
        life, disk = await bench.after(life, WayDown.POWER_LOSS)
        assert await disk.read("state") == (b"new" if calls == len(CALLS) else b"old")
