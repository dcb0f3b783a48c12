"""``lab broker-config``: the configuration of a lab for nats-servers of another administrator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from lab.cli.output import plain, say
from lab.cli.running.labs import Shape

_AS_IT_IS: Final = Shape()


def broker_config(
    file: Annotated[
        str, Parameter(help="Lab file: a path or a shipped name. Default: the existing lab's.")
    ] = "",
    *,
    shape: Shape = _AS_IT_IS,
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
