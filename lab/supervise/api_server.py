"""The process of ``keystead serve`` that belongs to a lab whose file says ``serve``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from lab.state.scratch import state_home
from lab.state.state_folder import LabFolder
from lab.topology.model import ServeModel

ROOT = Path(__file__).resolve().parents[2]
_LAUNCHER = Path(__file__).parent.parent / "processes" / "die_with_parent.py"
READY_LIMIT_S = 30.0
"""Real seconds for which the start of a lab waits for its API server."""
AGAIN_S = 5.0
"""Real seconds before one that ended is started again."""
LAST_LINES = 3


class ApiServerProcess:
    """Serves the APIs of a running lab beside its supervisor, and is started again when it ends.

    ``notice`` is told where it listens, ``warn`` why it ended.
    """

    def __init__(
        self,
        folder: LabFolder,
        wanted: ServeModel,
        notice: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._folder, self._wanted = folder, wanted
        self._notice, self._warn = notice, warn
        self._listens = asyncio.Event()

    async def wait_until_it_listens(self) -> None:
        """Until it has said where, or has ended; not longer than ``READY_LIMIT_S``."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._listens.wait(), READY_LIMIT_S)

    async def run(self) -> None:
        """Until this is cancelled."""
        while True:
            last = await self._serve()
            self._listens.set()
            why = " ".join(last) or "it does not say why"
            self._warn(f"the API server of the lab has ended: {why}")
            await asyncio.sleep(AGAIN_S)

    async def _serve(self) -> list[str]:
        """One life of the process; its last lines."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), sys.executable,
            "-m", "lab.cli.main", "serve", "--name", self._folder.name,
            "--listen", self._wanted.listen, "--hosts" if self._wanted.hosts else "--no-hosts",
            cwd=ROOT, env={**os.environ, "KEYSTEAD_STATE_HOME": str(state_home())},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        last: list[str] = []
        try:
            if process.stdout is not None:
                async for line in process.stdout:
                    text = line.decode(errors="replace").rstrip()
                    last = [*last, text][-LAST_LINES:]
                    if not self._listens.is_set() and text.startswith("vSphere APIs of"):
                        self._notice(text)
                        self._listens.set()
            await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
        return last
