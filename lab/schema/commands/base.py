"""What every command is: a struct that knows its name on the wire and the type of its answer."""

from __future__ import annotations

from importlib import import_module
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

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

    Encoded, it is a map whose field ``command`` has the tag. Making one raises ``KeysteadError``
    KS-USE-003 when its values do not fit, on the side that asks as on the side that does it.

    The command line is derived from the struct: its words from the tag, its help from the docstring
    with two examples, its arguments from the fields (``lab.schema.commands.arguments``), and what
    it prints from ``table``, ``message`` and the answer.

    A path in it is of the side that gives the command, which reads and writes the file
    (``lab.serve.files``).
    """

    words: ClassVar[str | None] = None
    """On the command line, where they are not those of the tag; empty: it is not given there."""
    table: ClassVar[ColumnTable | None] = None
    """How its answer is printed, where that is not the answer's own table."""
    changes: ClassVar[bool] = True
    """Whether the lab may be another one afterwards."""

    def message(self, answer: Any) -> str:
        """What a terminal says of ``answer`` in place of a table; empty: the table."""
        return ""

    def files_read(self) -> tuple[str, ...]:
        """Paths of files whose content goes along with the command; empty ones are left out."""
        return ()

    def file_written(self) -> str:
        """The path of the file that is written when it is done; empty: none."""
        return ""


class Look(Command[A], Generic[A], frozen=True):
    """A command that changes nothing."""

    changes: ClassVar[bool] = False


def name_of(command: Command[Any] | type[Command[Any]]) -> str:
    """The name of a command on the wire, such as ``vm.encrypt``."""
    return str(command.__struct_config__.tag)


def words_of(command: type[Command[Any]]) -> str:
    """Its words on the command line, such as ``vm encrypt``; empty when it is not given there."""
    own = command.words
    return name_of(command).replace(".", " ").replace("_", "-") if own is None else own


def answer_type(command: type[Command[A]]) -> type[A]:
    """The struct that ``command`` names in ``Command[...]``; ``TypeError`` when it names none.

    Only the module of that answer is imported, since a command line pays for each import.
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
    """KS-USE-003 for the first of ``texts`` that is no such name; an empty one says nothing."""
    for text in texts:
        if text and (fault := rule.fault(text)):
            raise wrong(fault)


def wrong(text: str) -> KeysteadError:
    """A value that does not fit: KS-USE-003."""
    return KeysteadError("KS-USE-003", text)


def absolute(*paths: str) -> None:
    """KS-USE-003 for a path that is none from the root on; an empty one is left out."""
    for path in paths:
        if path and not path.startswith("/"):
            raise wrong(f"{path}: an absolute path is wanted")
