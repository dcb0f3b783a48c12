"""``lab bundle``, ``lab access``, ``lab attach``, ``lab detach``: labs on several machines."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lab.cli.asked import Format
from lab.cli.output import document, pairs, plain, say
from lab.cli.values import duration
from lab.schema.errors import KeysteadError

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
