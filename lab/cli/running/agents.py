"""``agent join``, ``healthcheck``: what runs in a container. Imports little, since many start at
once."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lab.cli.invocation import Format
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import document, is_document, json_line, plain
from lab.schema.errors import KeysteadError
from lab.state.scratch import state_home


def join(
    file: Annotated[
        Path, Parameter(help="Bundle of `keystead lab bundle`, or the folder of `up --invite`.")
    ],
    *,
    as_: Annotated[
        str, Parameter(name="--as", help="Name of this machine. Default: its host name.")
    ] = "",
    arrays: Annotated[
        Path | None,
        Parameter(help="Mount point of the folder with the shared datastores."),
    ] = None,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Join a lab and run its nodes for this machine, until Ctrl-C.

    keystead agent join east.bundle
    keystead agent join /shared/esxi --as rack-7 --arrays /shared/arrays

    The agent prints one line per event; with -o json each line is a JSON document. If it loses the
    supervisor for the duration of the lease, it ends its nodes and tries to join again. It can be
    restarted with the same file. With a folder it requests a bundle, or a place in a pool, under
    the name of this machine. It tests the shared datastores before it joins.
    """
    from lab.members.joining import join as run
    from lab.members.joining import request_bundle

    def tell(text: str) -> None:
        if options.output is Format.JSON:
            from lab.schema.answers.lab import AgentTold

            json_line(AgentTold(at=time.time(), text=text))
        else:
            plain(text)
        sys.stdout.flush()

    if options.output is Format.YAML:
        raise KeysteadError("KS-USE-003", "an agent prints plain lines, or JSON with -o json")
    say_so = (lambda text: None) if options.quiet else tell
    if not file.is_dir():
        if as_:
            raise KeysteadError("KS-USE-003", f"--as {as_}: {file} is not a folder")
        run(file, say_so, arrays=arrays)
        return
    name = _machine(as_)
    home = state_home() / "machines" / name
    run(request_bundle(file, name, say_so), say_so, home=home, arrays=arrays)


def _machine(name: str) -> str:
    """The name of this machine; KS-USE-003 if it is not valid."""
    from lab.machines.checkup import own_name
    from protocol import names

    found = name or own_name()
    if wrong := names.MACHINE.fault(found):
        raise KeysteadError("KS-USE-003", wrong, "name this machine with `--as NAME`")
    return found


def healthcheck(
    *,
    as_: Annotated[
        str, Parameter(name="--as", help="Name as in `agent join --as`. Default: the host name.")
    ] = "",
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Check the agents and labs of this machine: exit code 0 if all are healthy, else 1.

    keystead healthcheck
    keystead healthcheck --as rack-7

    An agent is healthy when it has joined its lab and its nodes run, a lab when it answers. A lab
    that is being built is healthy when machines can join it.
    """
    from lab.machines.checkup import look, main, own_name

    machine = as_ or own_name()
    if not is_document(options.output):
        return main(machine)
    from lab.machines.health import HealthList, MachineHealth

    found = look(machine)
    healths = (MachineHealth(well=t.well, text=t.text, processes=t.processes) for t in found)
    document(HealthList(tuple(healths)), options.output)
    sys.stdout.flush()
    return 0 if all(told.well for told in found) else 1
