"""How the fields of a command become arguments of the command line.

A field without a default is a positional argument. A field with a default, and every boolean, is
an option. ``doc`` beside the type adds the help text and exceptions::

    vm: VmName
    release: Annotated[str, doc("The release, such as 8.0U3.", name="--to")]
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, get_args, get_origin

import msgspec


def doc(
    text: str = "",
    *,
    name: str = "",
    word: bool = False,
    reads: str = "",
    completes: str = "",
    negated: bool = False,
    hidden: bool = False,
) -> msgspec.Meta:
    """The description of a field, for the help and the JSON schema.

    ``name``: its name on the command line; a name with ``--`` makes it an option. ``word``: an
    optional positional argument. ``reads``: the parser of its text (``lab.cli.values.READERS``).
    ``completes``: the names that shell completion offers (``lab.cli.names``). ``negated``: a
    boolean also has the option ``--no-...``. ``hidden``: the command line does not have this field.
    """
    extra = {"name": name, "word": word, "reads": reads, "completes": completes}
    extra |= {"negated": negated, "hidden": hidden}
    given = {key: value for key, value in extra.items() if value}
    return msgspec.Meta(description=text or None, extra=given or None)


VmName = Annotated[str, doc(completes="vm")]
HostName = Annotated[str, doc(completes="host")]
NodeName = Annotated[str, doc(completes="node")]
FilePath = Annotated[str, doc(reads="path")]
"""An absolute path; the command line accepts a relative one and makes it absolute."""
Lease = Annotated[
    float | None,
    doc(
        "Lab time after which the fault heals. Default: it stays until `heal`.",
        name="--for",
        reads="lease",
    ),
]
"""Lab seconds."""


class Argument(NamedTuple):
    """One argument of a command line. ``nested`` has the arguments of a struct field."""

    field: str
    type: Any
    default: Any
    help: str
    name: str
    word: bool
    reads: str
    completes: str
    negated: bool
    nested: tuple[Argument, ...] = ()

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is msgspec.NODEFAULT

    @property
    def several(self) -> bool:
        """Whether it takes any number of values."""
        return get_origin(self.type) is tuple


def arguments_of(kind: type[msgspec.Struct]) -> tuple[Argument, ...]:
    """The arguments of a command, or of a struct in one, in order; hidden ones are left out."""
    found = (_read_field(one) for one in msgspec.structs.fields(kind))
    return tuple(one for one in found if one is not None)


def _read_field(of: msgspec.structs.FieldInfo) -> Argument | None:
    hint, help = of.type, ""
    extra: dict[str, Any] = {}
    if get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
        for note in notes:
            help = note.description or help
            extra |= note.extra or {}
    if extra.get("hidden"):
        return None
    default = of.default
    if of.default_factory is not msgspec.NODEFAULT:
        default = of.default_factory()
    name = str(extra.get("name", ""))
    option = name.startswith("--") or hint is bool
    return Argument(
        field=of.name,
        type=hint,
        default=default,
        help=help,
        name=name,
        word=not option and bool(extra.get("word") or default is msgspec.NODEFAULT),
        reads=str(extra.get("reads", "")),
        completes=str(extra.get("completes", "")),
        negated=bool(extra.get("negated")) or (hint is bool and default is msgspec.NODEFAULT),
        nested=arguments_of(hint) if _is_struct(hint) else (),
    )


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)
