"""``get machines``, ``lab bundle``, ``agent join``: labs on several machines."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lab.api.answers.machines import AgentTold
from lab.api.commands import GetMachines
from lab.cli.listing import PLAIN, Listing, View
from lab.cli.options import DEFAULTS, Format, Options
from lab.cli.output import document, field, is_document, json_line, pairs, plain, say
from lab.cli.values import duration
from lab.errors import KeysteadError
from lab.supervise.scratch import state_home
from protocol import names

LONGEST_S = 30 * 86_400.0  # that a bundle may be good for


def get_machines(*machines: str, view: View = PLAIN, options: Options = DEFAULTS) -> None:
    """Machines that the lab stands on: who has joined, how far, with which clock.

    keystead get machines
    keystead get machines -o wide

    CLOCK is how far a machine's clock is ahead, ERROR within how much that is known. Time of day is
    in the wide table: nothing of a lab goes by it.
    """
    columns = (
        field("machine"),
        field("standing", "STATE"),
        field("nodes"),
        field("processes"),
        ("DELAY", lambda r: _number(r.delay_ms, "ms")),
        ("CLOCK", lambda r: _number(r.clock_offset_s, "s", signed=True)),
        ("ERROR", lambda r: _number(r.clock_error_ms, "ms")),
        ("LOAD", lambda r: _number(r.load, "")),
    )
    wide = (
        ("LEASE", lambda r: _number(r.lease_s, "s")),
        ("HEARD", lambda r: _number(r.heard_s_ago, "s ago")),
        ("WORST ERROR", lambda r: _number(r.worst_error_ms, "ms")),
        field("jumps"),
        ("POOL", lambda r: r.pool or None),
        ("SHARED", lambda r: ", ".join(r.shared) or None),
        ("TIME OF DAY", lambda r: _number(r.wall_offset_s, "s", signed=True)),
    )
    Listing(columns, wide, key="machine").get(GetMachines(), machines, view, options)


def _number(value: float | None, unit: str, *, signed: bool = False) -> str | None:
    if value is None:
        return None
    return f"{value:+.3f}{unit}" if signed else f"{value:.2f}{unit}"


def bundle(
    machine: Annotated[str, Parameter(help="A machine of the Lab file.")],
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="Where to write it.")],
    address: Annotated[
        str, Parameter(help="Where that machine finds the lab, HOST:PORT; 0: the lab's port.")
    ] = "",
    good_for: Annotated[str, Parameter(help="Until when it may be joined with.")] = "1h",
    name: Annotated[
        str, Parameter(name=["--name", "-n"], env_var="KEYSTEAD_NAME", help="Name of the lab.")
    ] = "default",
    json: Annotated[bool, Parameter(negative="", help="Tell of it as JSON.")] = False,
) -> None:
    """Write the file that another machine joins the lab with: its identities, and no others'.

    keystead lab bundle east -o east.bundle
    keystead lab bundle east -o east.bundle --address 192.0.2.7:0 --good-for 10m

    One machine can use it, until then; it takes the place of the one before. Carry it there as you
    would a private key: `keystead agent join east.bundle`.
    """
    from lab.machines.issuing import issue

    limit_s = duration("--good-for", good_for)
    if not 0 < limit_s <= LONGEST_S:
        raise KeysteadError("KS-USE-003", f"--good-for {good_for}: above 0s, at most 720h")
    made = issue(name, machine, out, address, limit_s)
    if json:
        document(made, Format.JSON)
        return
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(made.expires))
    pairs(
        [
            ("bundle", made.file),
            ("machine", f"{made.machine} of the lab {made.lab}, {len(made.nodes)} nodes"),
            ("address", made.address),
            ("until", until),
        ]
    )
    say(f"there: keystead agent join {made.file}")


Name = Annotated[
    str, Parameter(name=["--name", "-n"], env_var="KEYSTEAD_NAME", help="Name of the lab.")
]


def access(
    *,
    out: Annotated[
        Path | None,
        Parameter(name=["--out", "-o"], help="Where to write it; left out: it is printed."),
    ] = None,
    address: Annotated[
        str, Parameter(help="Where others find the lab, HOST:PORT; 0: the lab's port.")
    ] = "",
    name: Name = "default",
) -> None:
    """Write the file with which this lab is commanded from elsewhere: `keystead lab attach`.

    keystead lab access -o far.access
    keystead lab access --address 127.0.0.1:4333

    Who has it may do everything with the lab: carry it as you would a private key.
    """
    from lab.machines.access import written
    from lab.machines.issuing import write_new

    data = written(name, address)
    if out is None:
        plain(data.decode().rstrip())
        sys.stdout.flush()
        return
    write_new(out, data)
    say(f"there: keystead lab attach {out}")


def attach(
    file: Annotated[
        Path | None,
        Parameter(help="What `keystead lab access` wrote; left out: standard input."),
    ] = None,
    *,
    name: Annotated[
        str, Parameter(name=["--name", "-n"], help="Its name here; left out: its own.")
    ] = "",
) -> None:
    """Let commands here reach a lab that runs elsewhere, by its name.

    keystead lab attach far.access
    keystead lab attach far.access --name second
    """
    from lab.machines.access import attach as keep

    try:
        data = sys.stdin.buffer.read() if file is None else file.read_bytes()
    except OSError as error:
        raise KeysteadError(
            "KS-AGENT-002", f"{file or 'standard input'}: {error.strerror}"
        ) from None
    kept = keep(data, name)
    plain(f"the lab {kept.lab} at {kept.address}")
    sys.stdout.flush()
    say(f"try: keystead get machines --name {kept.lab}")


def detach(
    name: Annotated[str, Parameter(help="The name under which it was attached.")],
) -> None:
    """Forget a lab that runs elsewhere; it goes on.

    keystead lab detach compose
    keystead lab detach far
    """
    from lab.machines.access import detach as forget

    forget(name)
    say(f"the lab {name} is not known here any more")


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
    options: Options = DEFAULTS,
) -> None:
    """Hold the nodes of a lab that stand on this machine, until Ctrl-C.

    keystead agent join east.bundle
    keystead agent join /shared/esxi --as rack-7 --arrays /shared/arrays

    It tells in a line each what happens. When the supervisor is not heard for the lease, the nodes
    end, and the agent asks to be taken again; it may be started again with the same file. In a
    folder it asks for its bundle, or for a place in a pool; what it keeps is under its name then.
    With -o json each line is a document. Folders of shared datastores are tried before it is taken.
    """
    from lab.machines.joining import invited
    from lab.machines.joining import join as run

    def tell(text: str) -> None:
        if options.output is Format.JSON:
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
    run(invited(file, name, say_so), say_so, home=home, arrays=arrays)


def _machine(name: str) -> str:
    """A name for this machine; KS-USE-003 for one that is none."""
    found = name or socket.gethostname().partition(".")[0].lower()
    if wrong := names.MACHINE.fault(found):
        raise KeysteadError("KS-USE-003", wrong, "name this machine with `--as NAME`")
    return found


def healthcheck(
    *,
    as_: Annotated[
        str, Parameter(name="--as", help="As `agent join --as`; left out: the host's name.")
    ] = "",
    options: Options = DEFAULTS,
) -> int:
    """Whether what shall run on this machine does, by asking it: exit code 0 or 1.

    keystead healthcheck
    keystead healthcheck --as rack-7

    Agents are asked whether their lab holds them, their processes how the nodes are, and labs of
    this user for an answer. A lab that is being built is well when machines can join it.
    """
    import asyncio

    from lab.machines.checkup import look
    from lab.machines.health import HealthList

    found = asyncio.run(look(state_home(), as_ or socket.gethostname().partition(".")[0].lower()))
    if is_document(options.output):
        document(HealthList(tuple(found)), options.output)
    else:
        for health in found:
            plain(f"{'well' if health.well else 'not well'}: {health.text}")
    sys.stdout.flush()
    return 0 if all(health.well for health in found) else 1
