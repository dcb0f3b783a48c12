"""How commands and answers travel between a way in and the process that holds the lab.

A command is encoded once, as a map with its name in ``command``; on the control broker it is
the body of ``RunCommand`` as it is, and its answer is the body of ``CommandDone``.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar, TypeVar, Union

import msgspec

from lab.schema.commands import Command, all_commands, answer_type, name_of
from lab.schema.errors import KeysteadError
from protocol.messages.base import NIL, Event, Repeat, Reply, Request

A = TypeVar("A")


class RunCommand(Request["CommandDone"], frozen=True, kw_only=True):
    """A person's command to a lab, encoded by ``encode_command``.

    ``vcenter`` is the one it is meant for; empty: each command's own choice, the first of the lab
    for most. ``user`` gives it there; empty: vCenter's administrator. ``files``: contents of the
    files that it names, by path, each sealed to the key of ``OpenFiles``; ``recipient``: the public
    key for the file that it writes (``lab.serve.files``).
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    command: msgspec.Raw
    vcenter: str = ""
    user: str = ""
    files: dict[str, bytes] = {}  # noqa: RUF012 - msgspec gives each struct a copy
    recipient: bytes = b""


class CommandDone(Reply, frozen=True, kw_only=True):
    """The answer, encoded; or the failure: an error id, what happened, what to do, and of a refusal
    of the product its ``fault`` and ``keys``. ``files``: what is to be written, by path, each
    sealed to the ``recipient`` of the command."""

    answer: msgspec.Raw = NIL
    files: dict[str, bytes] = {}  # noqa: RUF012 - msgspec gives each struct a copy
    error_id: str = ""
    error: str = ""
    fix: str = ""
    fault: str = ""
    keys: tuple[str, ...] = ()


class OpenFiles(Request["FilesOpen"], frozen=True, kw_only=True):
    """The key to which the files of a command are sealed."""


class FilesOpen(Reply, frozen=True, kw_only=True):
    """A public key of X25519 (32 bytes), the same for the life of the process that holds the
    lab."""

    public_key: bytes


class Progress(Event, frozen=True, kw_only=True):
    """A step of long work; ``total`` 0: nobody knows how many there are."""

    text: str
    step: int = 0
    total: int = 0


_encoder = msgspec.msgpack.Encoder()

# What msgspec raises for bytes that are no value of a type: text that is no UTF-8 and values that
# go too deep are not among its own errors.
_WRONG = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_SHOWN = 200  # characters of what came in that a message repeats


def encode_command(command: Command[Any]) -> msgspec.Raw:
    """The bytes of a command; KS-USE-003 for text that is no Unicode or numbers of no size."""
    try:
        return msgspec.Raw(_encoder.encode(command))
    except (UnicodeEncodeError, OverflowError, RecursionError, TypeError) as error:
        raise KeysteadError(
            "KS-USE-003", f"{name_of(command)}: {_make_printable(str(error))}"
        ) from None


def decode_command(raw: bytes | msgspec.Raw) -> Command[Any]:
    """The command in these bytes.

    Raises ``KeysteadError``: KS-USE-001 for a name that is none, KS-USE-003 for values that do
    not fit.
    """
    try:
        return _commands().decode(raw)
    except _WRONG as error:
        raise _build_refusal(raw, error) from None


class _Named(msgspec.Struct, frozen=True):
    """A command of which only the name is read."""

    command: str


def _build_refusal(raw: bytes | msgspec.Raw, error: Exception) -> KeysteadError:
    try:
        name = msgspec.msgpack.decode(raw, type=_Named).command
    except _WRONG:
        return KeysteadError("KS-USE-001", f"this is no command: {_make_printable(str(error))}")
    if name not in commands_by_name():
        return KeysteadError("KS-USE-001", f"there is no command {_make_printable(name)}")
    return KeysteadError("KS-USE-003", f"{name}: {_make_printable(str(error))}")


def _make_printable(text: str) -> str:
    """What came from outside, as a person may read it: one short line."""
    return "".join(c if c.isprintable() else "?" for c in text[:_SHOWN])


def encode_answer(answer: msgspec.Struct) -> msgspec.Raw:
    """The bytes of an answer."""
    return msgspec.Raw(_encoder.encode(answer))


def decode_answer(command: Command[A], raw: bytes | msgspec.Raw) -> A:
    """The answer to ``command`` in these bytes; ``msgspec.DecodeError`` when it is another one."""
    return msgspec.msgpack.decode(raw, type=answer_type(type(command)))


@functools.cache
def commands_by_name() -> dict[str, type[Command[Any]]]:
    """Every command by its name on the wire."""
    return {name_of(kind): kind for kind in all_commands()}


@functools.cache
def _commands() -> msgspec.msgpack.Decoder[Command[Any]]:
    return msgspec.msgpack.Decoder(Union[tuple(commands_by_name().values())])  # noqa: UP007
