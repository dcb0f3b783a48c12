"""``wait``: wait for a state of a lab. ``completion``: scripts for shell completion."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Literal

from cyclopts import Parameter

from lab.cli.options import DEFAULTS, Options
from lab.cli.output import plain
from lab.cli.values import duration
from lab.state.state_folder import LabFolder

LOOK_EVERY_S = 0.2  # real seconds


def wait(
    *,
    for_: Annotated[
        tuple[str, ...],
        Parameter(
            name="--for",
            negative="",
            required=True,
            help="NOUN.STATE=all, none, a number or names.",
        ),
    ],
    timeout: Annotated[str, Parameter(help="Time limit in real time.")] = "60s",
    options: Options = DEFAULTS,
) -> None:
    """Wait until VMs, hosts or faults have a state; exit code 6 after the time limit.

    keystead wait --for vm.running=all
    keystead wait --for vm.locked=vm-01,vm-04 --for host.connected=all --timeout 5m
    """
    from lab.local.remote import Remote
    from lab.serve.waiting import condition, wait_for

    conditions = [condition(text) for text in for_]
    until = time.monotonic() + duration("--timeout", timeout)

    async def pause() -> None:
        await asyncio.sleep(LOOK_EVERY_S)

    async def wait_there() -> None:
        async with Remote(LabFolder(options.name), options.vcenter) as lab:
            await wait_for(lab.do, pause, conditions, lambda: time.monotonic() > until)

    asyncio.run(wait_there())


def completion(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print the shell completion script for commands, options, and names of VMs and hosts.

    keystead completion bash
    keystead completion fish

    Save the script as ~/.local/share/bash-completion/completions/keystead,
    ~/.config/fish/completions/keystead.fish, or as _keystead in a folder of zsh's fpath.
    """
    from lab.cli.program import build

    plain(build().generate_completion(prog_name="keystead", shell=shell))
