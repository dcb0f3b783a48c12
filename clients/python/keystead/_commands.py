"""A method for each command of ``keystead schema``, made of ``commands.json``.

``_commands.pyi`` has their types and ``answers.pyi`` those of answers. All three are generated.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

from keystead.awaiting import awaited


def _method(name: str, command: str, doc: str, places: list[tuple[str, str, bool]]) -> Any:
    signature = Signature(
        [
            Parameter("self", Parameter.POSITIONAL_OR_KEYWORD),
            *(
                Parameter(place, Parameter.POSITIONAL_OR_KEYWORD, annotation=kind)
                if needed
                else Parameter(place, Parameter.KEYWORD_ONLY, default=None, annotation=kind)
                for place, kind, needed in places
            ),
        ]
    )

    def call(*words: Any, **values: Any) -> Any:
        try:
            given = signature.bind(*words, **values).arguments
        except TypeError as error:
            takes = signature.replace(parameters=[*signature.parameters.values()][1:])
            raise TypeError(f"{name}: {error}; it takes {takes}") from None
        lab = given.pop("self")
        return lab.do(command, {place.removesuffix("_"): it for place, it in given.items()})

    call.__name__, call.__qualname__, call.__doc__ = name, f"Commands.{name}", doc
    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def _methods() -> dict[str, Callable[..., Any]]:
    rows = json.loads(Path(__file__).with_name("commands.json").read_text("utf-8"))
    return {name: _method(name, **row) for name, row in rows.items()}


_SYNC = _methods()
_DOC = {"__doc__": "Every command of a lab.", "__module__": __name__}
Commands = type("Commands", (), {**_DOC, **_SYNC})
AsyncCommands = type(
    "AsyncCommands", (), {**_DOC, **{name: awaited(one) for name, one in _SYNC.items()}}
)
