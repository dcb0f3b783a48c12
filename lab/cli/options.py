"""Options that commands share: those that ask a lab, and those that ask none."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from cyclopts import Parameter

_NOT_GIVEN = str(b"default", "ascii")
"""The name of a lab when none is given: an object of its own, which no argument is."""


class Format(StrEnum):
    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Printed:
    """How results are printed: all options of a command that asks no lab."""

    output: Annotated[
        Format,
        Parameter(
            name=["--output", "-o"],
            env_var="KEYSTEAD_OUTPUT",
            help="table, wide, json, yaml or name.",
        ),
    ] = Format.TABLE
    quiet: Annotated[
        bool,
        Parameter(name=["--quiet", "-q"], negative="", help="Names only, and no progress."),
    ] = False

    def __post_init__(self) -> None:
        if self.quiet and self.output in (Format.TABLE, Format.WIDE):
            object.__setattr__(self, "output", Format.NAME)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options(Printed):
    """``name`` is the lab; ``vcenter`` who is asked, ``user`` who asks there."""

    name: Annotated[
        str, Parameter(name=["--name", "-n"], env_var="KEYSTEAD_NAME", help="Name of the lab.")
    ] = _NOT_GIVEN
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

    @property
    def named(self) -> bool:
        """Whether a name was given."""
        return self.name is not _NOT_GIVEN


PRINTED = Printed()
DEFAULTS = Options()
