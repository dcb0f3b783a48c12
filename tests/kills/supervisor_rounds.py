"""Rounds of a lab that ``keystead up`` holds: its supervisor is killed, and everything with it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from tests.kills.labs import SUPERVISOR, Ended, Told
from tests.lab.cli import warm

_UP = ("up", "--hosts", "1", "--vms", "1", "--tpm", "none", "--pace", "100")


class SupervisorRounds:
    """``home``: the state folder of its lab."""

    def __init__(self, home: Path, seed: int) -> None:
        self._home, self._choose = home, Random(seed)
        self._keys: set[str] = set()
        self._supervisor: int = 0

    def command(self, *words: str) -> Any:
        """The JSON that a command prints; None when it fails."""
        environment = {**os.environ, "KEYSTEAD_STATE_HOME": str(self._home)}
        code, out, _ = warm.process().run([*words, "-o", "json"], environment)
        return json.loads(out) if code == 0 and out else None

    async def play(self) -> Told:
        """Generate keys, kill the supervisor meanwhile, and start the lab again."""
        lost: list[str] = []
        if not self._supervisor and not self._up():
            return Told(part=SUPERVISOR, acknowledged=0, read=0, lost=("the lab does not start",))
        before = len(self._keys)
        self._generate()
        late = threading.Thread(target=self._generate)
        late.start()
        await asyncio.sleep(self._choose.choice((0.0, 0.2, 0.4, 0.6)))
        os.kill(self._supervisor, signal.SIGKILL)
        late.join()
        if not self._up():
            lost.append("the lab does not start again")
        read, gone = self._read_back()
        acknowledged = len(self._keys) - before
        return Told(part=SUPERVISOR, acknowledged=acknowledged, read=read, lost=(*lost, *gone))

    def _up(self) -> bool:
        told = self.command(*_UP)
        self._supervisor = told["supervisor"] if told else 0
        return bool(self._supervisor)

    def _generate(self) -> None:
        made = self.command("key", "generate")
        if made is not None:
            self._keys.add(str(made["items"][0]["key"] if "items" in made else made["key"]))

    def _read_back(self) -> tuple[int, list[str]]:
        told = self.command("get", "keys")
        known = {str(item["key"]) for item in told["items"]} if told else set()
        vms = self.command("get", "vms")
        lost = [f"vCenter does not know the key {key}" for key in sorted(self._keys - known)]
        if not vms or [vm["vm"] for vm in vms["items"]] != ["vm-01"]:
            lost.append(f"the VM is not there: {vms}")
        return len(self._keys) + 1, lost

    async def end(self) -> Ended:
        """Everything was read back in the last round."""
        if self._supervisor:
            self.command("down", "--purge")
        return Ended(read=0)


@asynccontextmanager
async def playing(seed: int) -> AsyncIterator[SupervisorRounds]:
    """A state folder for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="keystead-kills-") as folder:
        made = SupervisorRounds(Path(folder), seed)
        try:
            yield made
        finally:
            made.command("down", "--purge")
