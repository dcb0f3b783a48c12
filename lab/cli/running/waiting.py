"""``wait``: wait for a state of a lab. ``completion``: scripts for shell completion."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Literal

from cyclopts import Parameter

from lab.cli.names import COMPLETERS
from lab.cli.options import LAB_DEFAULTS, LabOptions
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
            completer=COMPLETERS["condition"],
        ),
    ],
    timeout: Annotated[str, Parameter(help="Time limit in real time.")] = "60s",
    options: LabOptions = LAB_DEFAULTS,
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
    """Print a shell completion script for commands, options, and names of nodes, VMs, runs, files.

    keystead completion bash
    keystead completion fish

    Save the script as ~/.local/share/bash-completion/completions/keystead,
    ~/.config/fish/completions/keystead.fish, or as _keystead in a folder of zsh's fpath.
    """
    from lab.cli.completion import SCRIPTS

    plain(SCRIPTS[shell])
