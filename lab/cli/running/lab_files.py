"""``lab ...``: files that describe or connect a lab.

``lab new`` and ``lab lint`` for Lab files, ``lab bundle``, ``access``, ``attach`` and ``detach``
for labs on several machines, ``lab broker-config`` for nats-servers of another administrator.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from lab.cli.arguments import COMPLETERS, assignments, duration
from lab.cli.invocation import Format
from lab.cli.options import PRINTED, Printed
from lab.cli.output import document, hint, is_document, pairs, plain, say
from lab.cli.running.labs import SHIPPED, FileName, LabShape
from lab.schema.errors import KeysteadError

BAD_FILE: Final = 4
AS_SHIPPED: Final = LabShape()
_QUESTIONS: Final = (
    ("hosts", "Hosts in each cluster", int),
    ("vms", "Encrypted VMs in each cluster", int),
    ("kms", "Key servers of the provider: 1, or 2 that replicate", int),
    ("key_persistence", "Key persistence from the start: yes or no", bool),
    ("pace", "Lab seconds that pass in one second", float),
)


def new(
    name: str,
    *,
    from_: Annotated[
        str,
        Parameter(
            name="--from",
            help=f"The Lab file to begin with: {SHIPPED}.",
            completer=COMPLETERS["lab"],
        ),
    ] = "default",
    shape: LabShape = AS_SHIPPED,
    set_: Annotated[
        tuple[str, ...],
        Parameter(name="--set", negative="", help="KNOB=VALUE, any number of times."),
    ] = (),
    options: Printed = PRINTED,
) -> None:
    """Write a commented Lab file, NAME.yaml, here; on a terminal it asks what no option says.

    keystead lab new mylab
    keystead lab new mylab --from edge --hosts 8 --key-persistence

    The schema that editors complete it by is written beside it: lab.schema.json.
    """
    from lab.local.lab_files import new as write_new

    if shape == AS_SHIPPED and not set_ and sys.stdin.isatty() and options == PRINTED:
        shape = _ask(shape)
    changes = shape.changes()
    if knobs := assignments("--set", set_):
        changes["knobs"] = knobs
    made = write_new(name, Path.cwd(), from_, changes)
    if is_document(options.output):
        document(made, options.output)
        return
    plain(made.file)
    hint(f"keystead up {Path(made.file).name}")


def lint(
    file: FileName,
    *,
    options: Printed = PRINTED,
) -> int:
    """Check a Lab file: all that is wrong with it, each with its line; exit code 4 then.

    keystead lab lint mylab.yaml
    keystead lab lint mylab.yaml -o json
    """
    from lab.local.lab_files import lint as look_through

    report = look_through(file)
    if is_document(options.output):
        document(report, options.output)
    elif options.output is Format.NAME:
        for problem in report.items:
            plain(problem)
    elif report.items:
        for problem in report.items:
            say(problem)
        say("1 error" if len(report.items) == 1 else f"{len(report.items)} errors")
    else:
        plain(f"{Path(report.file).name}: no errors")
    return BAD_FILE if report.items else 0


def _ask(shape: LabShape) -> LabShape:
    """What a person at the terminal wants; an empty answer leaves it as the file has it."""
    given: dict[str, Any] = {}
    say("Enter keeps what the shipped file says.")
    for field, question, kind in _QUESTIONS:
        sys.stderr.write(f"{question}: ")
        sys.stderr.flush()
        answer = sys.stdin.readline().strip()
        if not answer:
            continue
        try:
            value = _YES_NO[answer.lower()] if kind is bool else kind(answer)
        except (KeyError, ValueError):
            raise KeysteadError("KS-USE-003", f"{question}: not {answer}") from None
        given[field] = value
    return replace(shape, **given)


_YES_NO: Final = {"yes": True, "y": True, "no": False, "n": False}


LONGEST_S = 30 * 86_400.0  # limit of a bundle's validity


def bundle(
    machine: Annotated[str, Parameter(help="A machine of the Lab file.")],
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="File to write.")],
    address: Annotated[
        str, Parameter(help="Address of the lab for that machine, HOST:PORT; 0: the lab's port.")
    ] = "",
    good_for: Annotated[str, Parameter(help="How long the bundle is valid.")] = "1h",
    name: Annotated[
        str, Parameter(name=["--name", "-n"], env_var="KEYSTEAD_NAME", help="Name of the lab.")
    ] = "default",
    json: Annotated[bool, Parameter(negative="", help="Print the result as JSON.")] = False,
) -> None:
    """Write the bundle with which another machine joins the lab.

    keystead lab bundle east -o east.bundle
    keystead lab bundle east -o east.bundle --address 192.0.2.7:0 --good-for 10m

    The bundle has the private keys of that machine's nodes, so protect it like a private key. Only
    one machine can use it; an earlier bundle of the machine becomes invalid. On the other machine
    run `keystead agent join east.bundle`.
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
    say(f"on the machine: keystead agent join {made.file}")


Name = Annotated[
    str, Parameter(name=["--name", "-n"], env_var="KEYSTEAD_NAME", help="Name of the lab.")
]


def access(
    *,
    out: Annotated[
        Path | None,
        Parameter(name=["--out", "-o"], help="File to write. Default: standard output."),
    ] = None,
    address: Annotated[
        str, Parameter(help="Address of the lab for others, HOST:PORT; 0: the lab's port.")
    ] = "",
    name: Name = "default",
) -> None:
    """Write an access file, with which other machines control this lab (`lab attach`).

    keystead lab access -o far.access
    keystead lab access --address 127.0.0.1:4333

    The file gives full control of the lab, so protect it like a private key.
    """
    from lab.machines.access import build_access_file
    from lab.machines.issuing import write_new

    data = build_access_file(name, address)
    if out is None:
        plain(data.decode().rstrip())
        sys.stdout.flush()
        return
    write_new(out, data)
    say(f"on the other machine: keystead lab attach {out}")


def attach(
    file: Annotated[
        Path | None,
        Parameter(help="File of `keystead lab access`. Default: standard input."),
    ] = None,
    *,
    name: Annotated[
        str, Parameter(name=["--name", "-n"], help="Local name of the lab. Default: its name.")
    ] = "",
) -> None:
    """Attach a lab that runs on another machine, so that local commands can control it.

    keystead lab attach far.access
    keystead lab attach far.access --name second
    """
    from lab.machines.access import attach as keep

    kept = keep(_access(file), name)
    plain(f"the lab {kept.lab} at {kept.address}")
    sys.stdout.flush()
    say(f"try: keystead get machines --name {kept.lab}")


def _access(file: Path | None) -> bytes:
    from lab.topology.secret_files import read_file

    try:
        return sys.stdin.buffer.read() if file is None else read_file(str(file))
    except OSError as error:
        raise KeysteadError("KS-AGENT-002", f"standard input: {error.strerror}") from None
    except KeysteadError as error:
        raise KeysteadError("KS-AGENT-002", str(error)) from None


def detach(
    name: Annotated[str, Parameter(help="Local name of the attached lab.")],
) -> None:
    """Detach a lab that runs on another machine; the lab keeps running.

    keystead lab detach compose
    keystead lab detach far
    """
    from lab.machines.access import detach as forget

    forget(name)
    say(f"the lab {name} is detached")


_AS_IT_IS: Final = LabShape()


def broker_config(
    file: Annotated[
        str, Parameter(help="Lab file: a path or a shipped name. Default: the existing lab's.")
    ] = "",
    *,
    shape: LabShape = _AS_IT_IS,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="Where to write it.")] = None,
    name: Annotated[
        str, Parameter(name=["--name", "-n"], env_var="KEYSTEAD_NAME", help="Name of the lab.")
    ] = "default",
) -> None:
    """Print the nats-server configuration for a lab on external nats-servers.

    keystead lab broker-config far.yaml -n second
    keystead lab broker-config -n second --out keystead-second.conf

    The configuration has the account of the lab, with the public keys and permissions of its nodes.
    Its first lines say how to load it. Give the same options as to `keystead up`. The private keys
    stay on this machine, even when the lab is removed, so a new lab of the same name and nodes
    needs no new configuration.
    """
    from lab.local.broker_config import text_for, write_new_file

    text = text_for(name, file, shape.changes())
    if out is None:
        plain(text.rstrip("\n"))
        return
    write_new_file(out, text)
    say(f"written to {out}: give it to the administrator of the servers")
