"""The base class of commands: a struct with its name on the wire and the type of its answer; and
how its fields become arguments of the command line.
"""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, TypeVar, get_args, get_origin

import msgspec

from lab.schema.errors import KeysteadError
from lab.schema.tables import ColumnTable
from protocol.names import NameRule

A = TypeVar("A", covariant=True)

# Answers that are structs of the harness itself, found where they are defined.
_ELSEWHERE = {"Directory": "chaos.lab", "Verdict": "chaos.verdict"}


class Command(
    msgspec.Struct, Generic[A], frozen=True, forbid_unknown_fields=True, tag_field="command"
):
    """A command whose answer is of type ``A``: ``class GetVms(Command[VmList], tag="get.vms")``.

    It is encoded as a map whose field ``command`` has the tag. Creating one with an invalid value
    raises ``KeysteadError`` KS-USE-003, both in the client and in the lab.

    The command line is derived from the struct: its words from the tag, its help from the docstring
    with two examples, its arguments from the fields (``lab.schema.commands.base``), and its
    output from ``table``, ``message`` and the answer.

    Paths in a command are paths of the client, which reads and writes these files
    (``lab.serve.files``).
    """

    words: ClassVar[str | None] = None
    """Words on the command line, if they differ from the tag; empty: not on the command line."""
    table: ClassVar[ColumnTable | None] = None
    """The table that prints the answer, if it differs from the answer's own table."""
    changes: ClassVar[bool] = True
    """Whether the command can change the lab."""

    def message(self, answer: Any) -> str:
        """The text that a terminal shows instead of a table; empty: the table."""
        return ""

    def files_read(self) -> tuple[str, ...]:
        """Paths of files whose content is sent with the command; empty paths are skipped."""
        return ()

    def file_written(self) -> str:
        """The path of the file that is written when the command is done; empty: none."""
        return ""


class Look(Command[A], Generic[A], frozen=True):
    """A command that changes nothing."""

    changes: ClassVar[bool] = False


def name_of(command: Command[Any] | type[Command[Any]]) -> str:
    """The name of a command on the wire, such as ``vm.encrypt``."""
    return str(command.__struct_config__.tag)


def words_of(command: type[Command[Any]]) -> str:
    """Its words on the command line, such as ``vm encrypt``; empty if it is not on it."""
    own = command.words
    return name_of(command).replace(".", " ").replace("_", "-") if own is None else own


def answer_type(command: type[Command[A]]) -> type[A]:
    """The struct that ``command`` names in ``Command[...]``; ``TypeError`` when it names none.

    Imports the module of that answer only, to keep the command line fast.
    """
    for base in getattr(command, "__orig_bases__", ()):
        origin, arguments = get_origin(base), get_args(base)
        name = getattr(arguments[0], "__forward_arg__", "") if arguments else ""
        if isinstance(origin, type) and issubclass(origin, Command) and name:
            module = import_module(_ELSEWHERE.get(name, "lab.schema.answers"))
            found: type[A] = getattr(module, name)
            return found
    raise TypeError(f"{command.__name__} does not say what answers it")


def check_names(rule: NameRule, *texts: str) -> None:
    """Raise KS-USE-003 for the first of ``texts`` that breaks ``rule``; skip empty ones."""
    for text in texts:
        if text and (fault := rule.fault(text)):
            raise wrong(fault)


def wrong(text: str) -> KeysteadError:
    """The error for an invalid value: KS-USE-003."""
    return KeysteadError("KS-USE-003", text)


def absolute(*paths: str) -> None:
    """Raise KS-USE-003 for a path that is not absolute; skip empty ones."""
    for path in paths:
        if path and not path.startswith("/"):
            raise wrong(f"{path}: the path must be absolute")


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
    optional positional argument. ``reads``: the parser of its text (``lab.cli.arguments.READERS``).
    ``completes``: the names that shell completion offers (``lab.cli.arguments``). ``negated``: a
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
