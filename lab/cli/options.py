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
    """``name`` is the lab; ``output`` how results are printed."""

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


DEFAULTS = Options()
