"""Commands that take a moment say on a terminal what they are waiting for, and nowhere else."""

from __future__ import annotations

import asyncio
import io
import sys

import pytest

from lab.cli.progress import Latest, showing_progress
from lab.schema.wire import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def work(until: asyncio.Event, told: Latest) -> str:
    told.hear(Progress(text="link.cut: check that it bites", step=1, total=1))
    await until.wait()
    return "done"


async def test_it_is_shown_after_a_moment_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("lab.cli.progress.SHOW_AFTER_S", 0.01)
    until, told = asyncio.Event(), Latest("link cut")

    async def release() -> None:
        while "link.cut: check that it bites" not in terminal.getvalue():
            await asyncio.sleep(0.01)
        until.set()

    releasing = asyncio.create_task(release())
    async with asyncio.timeout(10):
        assert await showing_progress(work(until, told), told.text) == "done"
        await releasing
    assert terminal.getvalue().endswith("\x1b[2K")  # the line is erased


@pytest.mark.parametrize("terminal", [io.StringIO(), Terminal()])
async def test_nothing_is_shown_of_a_quick_command_or_into_a_file(
    terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal)
    if not terminal.isatty():
        monkeypatch.setattr("lab.cli.progress.SHOW_AFTER_S", 0.0)
    until, told = asyncio.Event(), Latest("link cut")
    asyncio.get_running_loop().call_later(0.01, until.set)
    assert await showing_progress(work(until, told), told.text) == "done"
    assert terminal.getvalue() == ""


def test_steps_are_counted_where_there_are_several() -> None:
    told = Latest("vm on")
    assert told.text() == "vm on"
    told.hear(Progress(text="power on vm-02", step=2, total=3))
    assert told.text() == "[2/3] power on vm-02"


async def test_an_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())

    async def fail() -> None:
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        await showing_progress(fail(), lambda: "")
