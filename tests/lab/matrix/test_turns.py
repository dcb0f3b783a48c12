"""No more labs are built at once than there are turns."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

from lab.matrix.players import turn

TAKES = """
import asyncio, sys, time
from pathlib import Path
from lab.matrix.players import turn

async def main():
    async with turn(Path(sys.argv[1]), 1):
        print("mine", flush=True)
        time.sleep(60)

asyncio.run(main())
"""


async def test_so_many_have_a_turn_at_once_and_all_come_to_it(tmp_path: Path) -> None:
    inside, most = 0, 0

    async def build() -> None:
        nonlocal inside, most
        async with turn(tmp_path, 2):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.02)
            inside -= 1

    async with asyncio.timeout(30):
        await asyncio.gather(*(build() for _ in range(6)))
    assert (most, inside) == (2, 0)


async def test_a_process_that_is_killed_has_its_turn_no_longer(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", TAKES, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert child.stdout is not None and await child.stdout.readline() == b"mine\n"
        waits = asyncio.create_task(_once(tmp_path))
        await asyncio.sleep(0.3)
        assert not waits.done()
        child.kill()
        await asyncio.wait_for(waits, 10)
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def _once(folder: Path) -> None:
    async with turn(folder, 1):
        pass
