"""Options that commands share: those that ask a lab, and those that ask none.

They are shown once, by ``keystead --help`` (``GENERAL``), and not by each command.
"""

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
            show=False,
            help="table, wide, json, yaml or name.",
        ),
    ] = Format.TABLE
    quiet: Annotated[
        bool,
        Parameter(
            name=["--quiet", "-q"], negative="", show=False, help="Names only, and no progress."
        ),
    ] = False

    def __post_init__(self) -> None:
        if self.quiet and self.output in (Format.TABLE, Format.WIDE):
            object.__setattr__(self, "output", Format.NAME)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LabOptions(Printed):
    """``name`` is the lab, ``vcenter`` the one of its vCenters that is asked."""

    name: Annotated[
        str,
        Parameter(
            name=["--name", "-n"], env_var="KEYSTEAD_NAME", show=False, help="Name of the lab."
        ),
    ] = _NOT_GIVEN
    vcenter: Annotated[
        str,
        Parameter(
            name=["--vcenter"],
            env_var="KEYSTEAD_VCENTER",
            show=False,
            help="The vCenter that is asked; left out: the first of the lab, lists show all.",
        ),
    ] = ""

    @property
    def named(self) -> bool:
        """Whether a name was given."""
        return self.name is not _NOT_GIVEN


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options(LabOptions):
    """Those of a command that vCenter is given; ``user`` gives it there."""

    user: Annotated[
        str,
        Parameter(
            name=["--user"],
            env_var="KEYSTEAD_USER",
            show=False,
            help="Who gives a task to vCenter; left out: administrator@vsphere.local.",
        ),
    ] = ""


GENERAL = (
    ("-o, --output", "table, wide, json, yaml or name"),
    ("-q, --quiet", "names only, and no progress"),
    ("-n, --name", "the lab, where a command is about one; default"),
    ("--vcenter", "the vCenter that is asked; else the first, and lists show all"),
    ("--user", "who gives a command to vCenter; administrator@vsphere.local"),
)
"""Each has a variable too: ``KEYSTEAD_OUTPUT``, ``_NAME``, ``_VCENTER``, ``_USER``."""
PRINTED = Printed()
LAB_DEFAULTS = LabOptions()
DEFAULTS = Options()
