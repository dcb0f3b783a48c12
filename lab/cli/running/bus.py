"""``lab broker-config``: what the administrator of somebody's nats-servers has to load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from lab.cli.output import plain, say
from lab.cli.running.labs import Shape

_AS_IT_IS: Final = Shape()


def broker_config(
    file: Annotated[
        str, Parameter(help="Lab file, shipped or a path; left out: that of the lab that is there.")
    ] = "",
    *,
    shape: Shape = _AS_IT_IS,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="Where to write it.")] = None,
    name: Annotated[
        str, Parameter(name=["--name", "-n"], env_var="KEYSTEAD_NAME", help="Name of the lab.")
    ] = "default",
) -> None:
    """Print the configuration of a lab's account on nats-servers that somebody else runs.

    keystead lab broker-config far.yaml -n second
    keystead lab broker-config -n second --out keystead-second.conf

    It has the nodes' public keys and what each may say and hear; what to do with it stands at its
    head. Give the same options as to `keystead up`. The private keys are kept here, also when the
    lab is removed: a lab of the same name and nodes needs nothing new.
    """
    from lab.local.broker_config import text_for, write_new_file

    text = text_for(name, file, shape.changes())
    if out is None:
        plain(text.rstrip("\n"))
        return
    write_new_file(out, text)
    say(f"written to {out}: for the administrator of the servers")
