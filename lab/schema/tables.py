"""How an answer looks as a table: its columns, declared beside its struct; and as a document: what
``-o json`` prints and every other interface gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, get_args, get_type_hints

import msgspec

Row = Any
Column = tuple[str, Callable[[Row], Any]]


class ColumnTable(NamedTuple):
    """The columns of one kind of row.

    ``key`` is the field that names a row; ``wide`` columns are added by ``-o wide``, ``rare`` ones
    are shown when a row has something there.
    """

    key: str
    columns: tuple[Column, ...]
    wide: tuple[Column, ...] = ()
    rare: tuple[Column, ...] = ()


def table_of(kind: type) -> ColumnTable | None:
    """The table of an answer: its own, or that of the rows in its ``items``."""
    own: ColumnTable | None = getattr(kind, "table", None)
    if own is not None or "items" not in kind.__annotations__:
        return own
    row = get_args(get_type_hints(kind)["items"])[0]
    return getattr(row, "table", None)


def field(name: str, title: str = "") -> Column:
    """A column that shows a field as it is."""
    return title or name.replace("_", " ").upper(), lambda row: value_of(row, name)


def value_of(row: Row, name: str) -> Any:
    """A field of a row."""
    return row.get(name) if isinstance(row, Mapping) else getattr(row, name)


def text(value: Any) -> str:
    """A cell. Meaning is never by colour alone."""
    match value:
        case None | "":
            return "-"
        case True:
            return "yes"
        case False:
            return "no"
        case float():
            return f"{value:.3f}".rstrip("0").rstrip(".")
        case list() | tuple():
            return ",".join(text(v) for v in value) or "-"
        case msgspec.Struct():
            return text({k: v for k, v in msgspec.to_builtins(value).items()})
        case dict():
            return ",".join(f"{k}={text(v)}" for k, v in value.items()) or "-"
        case _:
            return str(value)


def moment(seconds: float | None) -> str:
    """A Unix time of the lab as UTC, to the millisecond."""
    if not seconds:
        return "-"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def short_key(key: str | None) -> str | None:
    """``provider/1234abcd…``: enough to tell keys apart in a table. The id of a trusted provider's
    key is a ciphertext; all begin alike, so its end is shown: ``provider/…9f3kQ2xA``."""
    if not key or "/" not in key:
        return key
    provider, _, rest = key.rpartition("/")
    if len(rest) > _UUID_LENGTH:
        return f"{provider}/…{rest.rstrip('=')[-8:]}"
    return f"{provider}/{rest[:8]}" + ("…" if len(rest) > 8 else "")


_UUID_LENGTH = 36


API = "keystead/v1"


def document_of(answer: msgspec.Struct) -> dict[str, Any]:
    """The answer as plain values under its ``apiVersion`` and ``kind``, ready for JSON.

    ``kind`` is the name of the struct; bytes become base64.
    """
    head = {"apiVersion": API, "kind": type(answer).__name__}
    return {**head, **msgspec.to_builtins(answer, str_keys=True)}
