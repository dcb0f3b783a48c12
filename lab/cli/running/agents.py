"""``agent join``, ``healthcheck``: what runs in a container. Imports little, since many start at
once."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lab.cli.options import LAB_DEFAULTS, Format, LabOptions
from lab.cli.output import document, is_document, json_line, plain
from lab.schema.errors import KeysteadError
from lab.state.scratch import state_home


def join(
    file: Annotated[
        Path, Parameter(help="A bundle: `keystead lab bundle`; or a folder of `up --invite`.")
    ],
    *,
    as_: Annotated[
        str, Parameter(name="--as", help="Who asks in that folder; left out: the host's name.")
    ] = "",
    arrays: Annotated[
        Path | None,
        Parameter(help="Where the folder is mounted that has its shared datastores."),
    ] = None,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Hold the nodes of a lab that stand on this machine, until Ctrl-C.

    keystead agent join east.bundle
    keystead agent join /shared/esxi --as rack-7 --arrays /shared/arrays

    It tells in a line each what happens. When the supervisor is not heard for the lease, the nodes
    end, and the agent asks to be taken again; it may be started again with the same file. In a
    folder it asks for its bundle, or for a place in a pool; what it keeps is under its name then.
    With -o json each line is a document. Folders of shared datastores are tried before it is taken.
    """
    from lab.members.joining import join as run
    from lab.members.joining import request_bundle

    def tell(text: str) -> None:
        if options.output is Format.JSON:
            from lab.schema.answers.machines import AgentTold

            json_line(AgentTold(at=time.time(), text=text))
        else:
            plain(text)
        sys.stdout.flush()

    if options.output is Format.YAML:
        raise KeysteadError("KS-USE-003", "an agent tells in plain lines, or with -o json")
    say_so = (lambda text: None) if options.quiet else tell
    if not file.is_dir():
        if as_:
            raise KeysteadError("KS-USE-003", f"--as {as_}: {file} is no folder to ask in")
        run(file, say_so, arrays=arrays)
        return
    name = _machine(as_)
    home = state_home() / "machines" / name
    run(request_bundle(file, name, say_so), say_so, home=home, arrays=arrays)


def _machine(name: str) -> str:
    """A name for this machine; KS-USE-003 for one that is none."""
    from lab.machines.checkup import own_name
    from protocol import names

    found = name or own_name()
    if wrong := names.MACHINE.fault(found):
        raise KeysteadError("KS-USE-003", wrong, "name this machine with `--as NAME`")
    return found


def healthcheck(
    *,
    as_: Annotated[
        str, Parameter(name="--as", help="As `agent join --as`; left out: the host's name.")
    ] = "",
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Whether what shall run on this machine does, by asking it: exit code 0 or 1.

    keystead healthcheck
    keystead healthcheck --as rack-7

    Agents are asked whether their lab holds them, their processes how the nodes are, and labs of
    this user for an answer. A lab that is being built is well when machines can join it.
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
