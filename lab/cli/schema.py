"""``schema``: the shape of every command and every answer."""

from __future__ import annotations

import json

from cyclopts import App

from lab.cli.options import DEFAULTS, Format, Options
from lab.cli.output import plain


def schema(*, options: Options = DEFAULTS) -> None:
    """The JSON schema of every command and every answer, as `-o json` and the library have them.

    keystead schema
    keystead schema -o yaml
    """
    from lab.api.schema import schema as made_of_the_structs

    made = made_of_the_structs()
    match options.output:
        case Format.NAME:
            for name in made["commands"]:
                plain(name)
        case Format.YAML:
            import yaml

            plain(yaml.safe_dump(made, sort_keys=False, allow_unicode=True))
        case _:
            plain(json.dumps(made, indent=2, ensure_ascii=False))


def register(app: App) -> None:
    app.command(schema)
