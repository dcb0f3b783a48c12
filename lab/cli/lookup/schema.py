"""``schema``: the shape of every command and answer, and of the files that people write."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from cyclopts import Parameter

from lab.cli.asked import Format
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import plain


def schema(
    of: Annotated[
        Literal["api", "lab", "experiment"],
        Parameter(help="Commands and answers (api), or a kind of file, for editors."),
    ] = "api",
    *,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Print a JSON schema: of all commands and answers, of Lab files or of experiment files.

    keystead schema
    keystead schema experiment
    """
    from lab.local.schema import file_schema
    from lab.local.schema import schema as made_of_the_structs

    made = made_of_the_structs() if of == "api" else file_schema(of)
    match options.output:
        case Format.NAME:
            for name in made["commands" if of == "api" else "properties"]:
                plain(name)
        case Format.YAML:
            import yaml

            plain(yaml.safe_dump(made, sort_keys=False, allow_unicode=True))
        case _:
            plain(json.dumps(made, indent=2, ensure_ascii=False))
