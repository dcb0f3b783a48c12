"""Options that every command has."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from cyclopts import Parameter


class Format(StrEnum):
    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """``name`` is the lab; ``output`` how results are printed; ``vcenter`` who is asked,
    ``user`` who asks there."""

    name: Annotated[
        str, Parameter(name=["--name", "-n"], env_var="KEYSTEAD_NAME", help="Name of the lab.")
    ] = "default"
    output: Annotated[
        Format,
        Parameter(
            name=["--output", "-o"],
            env_var="KEYSTEAD_OUTPUT",
            help="table, wide, json, yaml or name.",
        ),
    ] = Format.TABLE
    vcenter: Annotated[
        str,
        Parameter(
            name=["--vcenter"],
            env_var="KEYSTEAD_VCENTER",
            help="The vCenter that is asked; left out: the first of the lab, lists show all.",
        ),
    ] = ""
    user: Annotated[
        str,
        Parameter(
            name=["--user"],
            env_var="KEYSTEAD_USER",
            help="Who gives a task to vCenter; left out: administrator@vsphere.local.",
        ),
    ] = ""
    quiet: Annotated[
        bool,
        Parameter(name=["--quiet", "-q"], negative="", help="Names only, and no progress."),
    ] = False

    def __post_init__(self) -> None:
        if self.quiet and self.output in (Format.TABLE, Format.WIDE):
            object.__setattr__(self, "output", Format.NAME)


DEFAULTS = Options()
