"""Options that commands share: output options, and options of commands that use a lab.

``keystead --help`` shows them once (``GENERAL``); the help of a command leaves them out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from lab.cli.invocation import Format

_NOT_GIVEN = str(b"default", "ascii")
"""The name of a lab when none is given: an object of its own, which no argument is."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Printed:
    """Output options; commands that use no lab have only these."""

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
            name=["--quiet", "-q"],
            negative="",
            show=False,
            help="Print names only, and no progress.",
        ),
    ] = False

    def __post_init__(self) -> None:
        if self.quiet and self.output in (Format.TABLE, Format.WIDE):
            object.__setattr__(self, "output", Format.NAME)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LabOptions(Printed):
    """``name`` of the lab; ``vcenter`` that executes the command."""

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
            help="The vCenter to use. Default: the first one of the lab; lists show all.",
        ),
    ] = ""

    @property
    def named(self) -> bool:
        """Whether a name was given."""
        return self.name is not _NOT_GIVEN


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options(LabOptions):
    """Options of a vCenter task; ``user`` is the vCenter user that starts it."""

    user: Annotated[
        str,
        Parameter(
            name=["--user"],
            env_var="KEYSTEAD_USER",
            show=False,
            help="vCenter user of a task. Default: administrator@vsphere.local.",
        ),
    ] = ""


@Parameter(name="*")
@dataclass(frozen=True)
class View:
    """How a list is shown."""

    watch: Annotated[
        bool,
        Parameter(name=["--watch", "-w"], negative="", help="Go on, with each row that changed."),
    ] = False
    sort_by: Annotated[str, Parameter(help="A column or a field: --sort-by host.")] = ""
    no_headers: Annotated[bool, Parameter(negative="", help="Rows only.")] = False


GENERAL = (
    ("-o, --output", "table, wide, json, yaml or name"),
    ("-q, --quiet", "print names only, and no progress"),
    ("-n, --name", "name of the lab; default: default"),
    ("--vcenter", "the vCenter to use; default: the first one, and lists show all"),
    ("--user", "vCenter user of a task; default: administrator@vsphere.local"),
)
"""Environment variables set them too: ``KEYSTEAD_OUTPUT``, ``_NAME``, ``_VCENTER``, ``_USER``."""
PRINTED = Printed()
LAB_DEFAULTS = LabOptions()
DEFAULTS = Options()
VIEW = View()
