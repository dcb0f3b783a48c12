"""``try``: the story of key persistence on a lab of its own, step by step."""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Iterator
from typing import Annotated, Final, NamedTuple

from cyclopts import Parameter

from lab.cli.output import as_typed, plain, say
from lab.schema.errors import KeysteadError
from lab.state.state_folder import LabFolder

NAME: Final = "try"
WIDTH: Final = 96  # characters of a line of text
_OF: Final = f"--name {NAME}"
_LOCKED: Final = "vm-01,vm-03"  # the VMs of esxi-001


class Step(NamedTuple):
    """What is done, why, and the command that does it."""

    text: str
    command: str


_WITHOUT: Final = (
    Step(
        "This lab has a vCenter, a key server, two hosts and four encrypted VMs, each a process of "
        "its own on this machine. A minute of the lab passes in a second.",
        f"keystead up --hosts 2 --vms 4 --pace 60 {_OF}",
    ),
    Step(
        "Every VM runs: vCenter has fetched its key from the key server and given it to the host, "
        "which keeps it in memory.",
        f"keystead get vms {_OF}",
    ),
    Step(
        "The link between vCenter and the key server is cut, as by a firewall. Nothing happens to "
        "VMs that run: their hosts have the keys.",
        f"keystead link cut vcenter kms {_OF}",
    ),
    Step(
        "A host reboots meanwhile. Its memory is empty then, and vCenter cannot fetch the keys.",
        f"keystead host reboot esxi-001 {_OF}",
    ),
    Step(
        "So vCenter marks the VMs of this host as locked.",
        f"keystead wait --for vm.locked={_LOCKED} {_OF}",
    ),
    Step(
        "Why it is locked, which rule of the product says so, and what cures it:",
        f"keystead describe vm vm-01 {_OF}",
    ),
    Step("The link is healed, and it is checked that it is.", f"keystead heal --all {_OF}"),
    Step(
        "vCenter unlocks the VMs at its next health check. That powers nothing on.",
        f"keystead wait --for vm.locked=none --for host.safe=all {_OF}",
    ),
    Step("They can be powered on again.", f"keystead vm on vm-01 vm-03 {_OF}"),
)
_WITH: Final = (
    Step(
        "Now with key persistence: the host keeps its keys in its configuration, which its TPM "
        "seals.",
        f"keystead esx esxi-001 system security keypersistence enable {_OF}",
    ),
    Step("The same link is cut ...", f"keystead link cut vcenter kms {_OF}"),
    Step("... and the same host reboots.", f"keystead host reboot esxi-001 {_OF}"),
    Step(
        "Its VMs run again without anybody's help: no key server, no vCenter was asked.",
        f"keystead wait --for vm.running=all {_OF}",
    ),
    Step("What vm-01 says of that:", f"keystead describe vm vm-01 {_OF}"),
)
_END: Final = Step("The lab is taken down, and its folder removed.", f"keystead down --purge {_OF}")


def try_(
    *,
    pause: Annotated[bool, Parameter(help="Wait for Enter after each step, on a terminal.")] = True,
    list_: Annotated[
        bool, Parameter(name="--list", negative="", help="Print the steps and play none.")
    ] = False,
) -> int:
    """Play the story of key persistence, two minutes long: each step says what it does and why.

    keystead try
    keystead try --no-pause

    It is played on a lab of its own that is called `try`, and removed at the end.
    """
    from services.runtime.tpm.backends import missing_for_libtpms

    missing = missing_for_libtpms()
    steps = list(_steps(with_tpm=not missing))
    if list_:
        for step in steps:
            plain(f"{_wrap(step.text)}\n  $ {as_typed(step.command)}\n")
        return 0
    if LabFolder(NAME).path.exists():
        fix = f"keystead down --purge --name {NAME}"
        raise KeysteadError("KS-USE-003", f"there is a lab called {NAME} already", fix)
    try:
        code = _play(steps, pause=pause and sys.stdin.isatty() and sys.stdout.isatty())
    finally:
        if LabFolder(NAME).path.exists():
            _run(_END.command)
    if code == 0:
        if missing:
            say(f"{missing}; with it, key persistence would be next")
        say("Next: `keystead up` for a lab that stays, `keystead chaos list` for experiments.")
    return code


def _steps(*, with_tpm: bool) -> Iterator[Step]:
    """Without a TPM under its hosts the lab shows the first half."""
    first, *rest = _WITHOUT
    yield first if with_tpm else first._replace(command=f"{first.command} --tpm none")
    yield from rest
    if with_tpm:
        yield from _WITH
    yield _END


def _play(steps: list[Step], *, pause: bool) -> int:
    """The exit code of the first step that fails; 0 when all are done, or enough for somebody."""
    for number, step in enumerate(steps, start=1):
        plain(f"\n{number}/{len(steps)}  {_wrap(step.text)}\n  $ {as_typed(step.command)}")
        sys.stdout.flush()
        if code := _run(step.command):
            return code
        sys.stdout.flush()
        if pause and step is not steps[-1]:
            sys.stderr.write("\nEnter goes on, q ends: ")
            sys.stderr.flush()
            line = sys.stdin.readline()
            if not line or line.strip().lower() == "q":
                return 0
    return 0


def _run(command: str) -> int:
    from lab.cli.main import run

    return run(shlex.split(command)[1:])


def _wrap(text: str) -> str:
    return textwrap.fill(text, WIDTH)
