"""The process of one lab: ``python -m tests.kills.player KIND SEED [PATCH]``.

Plays a round for each line that it reads and answers with a line of JSON; at the end of its input
it takes a last look, answers with that, and ends. It ends with its parent.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import msgspec

from tests.kills import lab_rounds, supervisor_rounds
from tests.kills.labs import KINDS, SUPERVISOR
from tests.runner.leftovers import end_with_parent


async def main(kind_name: str, seed: int, patch: str) -> None:
    """See the module."""
    kind = next(kind for kind in KINDS if kind.name == kind_name)
    made = (
        supervisor_rounds.playing(seed)
        if kind.name == SUPERVISOR
        else lab_rounds.playing(kind, seed, patch)
    )
    loop = asyncio.get_running_loop()
    async with made as rounds:
        while await loop.run_in_executor(None, sys.stdin.readline):
            _say(await rounds.play())
        _say(await rounds.end())


def _say(told: msgspec.Struct) -> None:
    print(msgspec.json.encode(told).decode(), flush=True)


if __name__ == "__main__":
    end_with_parent(signal.SIGTERM)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""))
