"""How the fields of a command are given on a command line.

A field without a default is a word, one with a default an option, a truth value always an option;
``doc`` beside its type says what else there is to know::

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
    """What a field means; it stands in the help and in the JSON schema.

    ``name``: on the command line, with ``--`` an option. ``word``: a word that may be left out.
    ``reads``: how text becomes its value (``lab.cli.values.READERS``); ``completes``: what a shell
    offers for it (``lab.cli.names``). ``negated``: a truth value has
    an option that says no, ``--no-...``. ``hidden``: it is not given on a command line.
    """
    extra = {"name": name, "word": word, "reads": reads, "completes": completes}
    extra |= {"negated": negated, "hidden": hidden}
    given = {key: value for key, value in extra.items() if value}
    return msgspec.Meta(description=text or None, extra=given or None)


VmName = Annotated[str, doc(completes="vm")]
HostName = Annotated[str, doc(completes="host")]
NodeName = Annotated[str, doc(completes="node")]
FilePath = Annotated[str, doc(reads="path")]
"""An absolute path; a command line makes it one."""
Lease = Annotated[
    float | None,
    doc("Lab time until it heals by itself; else until `heal`.", name="--for", reads="lease"),
]
"""Lab seconds."""


class Argument(NamedTuple):
    """A field as a command line gives it. ``nested`` are those of a struct in it."""

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
