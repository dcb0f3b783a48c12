"""The base classes of messages, the registry, and the type of fields that carry keys.

A message class says with ``repeat`` what receiving it twice means:
``read`` is harmless; ``converge`` names a wanted state, twice is once; ``create`` carries an
``operation_id`` kept over the requester's retries, stored by the receiver in the row it makes.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

import msgspec

from protocol.secret import KeyMaterial

NIL = msgspec.Raw(b"\xc0")
"""The bytes of nothing: msgpack's nil, in place of a body that is not there."""


class Repeat(StrEnum):
    """What receiving a request a second time means; see the text of this module."""

    READ = "read"
    CONVERGE = "converge"
    CREATE = "create"


class Sealed:
    """A field that carries key material.

    Made by a sender with the clear keys in it (``Sealed.of``). The bus port puts the keys into a
    box of the envelope, sealed to the receiver, and leaves the number of the box in the body
    (``Sealed.boxed``); the receiver's bus port puts the keys back before its handler sees it. The
    codec refuses to encode a field with clear keys, so they cannot reach the wire.
    """

    __slots__ = ("_keys", "box")

    def __init__(self, keys: tuple[KeyMaterial, ...] | None, box: int | None) -> None:
        self._keys = keys
        self.box = box

    @classmethod
    def of(cls, *keys: KeyMaterial) -> Sealed:
        """A field with these keys in clear, for a message that is about to be sent."""
        return cls(keys, None)

    @classmethod
    def in_box(cls, box: int) -> Sealed:
        """A field whose keys lie in box number ``box`` (from 0) of the envelope."""
        return cls(None, box)

    @property
    def keys(self) -> tuple[KeyMaterial, ...]:
        """The keys, in the order the sender gave; ``ValueError`` while still boxed."""
        if self._keys is None:
            raise ValueError("this field is sealed to another node")
        return self._keys

    def __repr__(self) -> str:
        return "Sealed(boxed)" if self._keys is None else f"Sealed({len(self._keys)} keys)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sealed):
            return NotImplemented
        return self._keys == other._keys and self.box == other.box

    __hash__ = None  # type: ignore[assignment]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Anything with a name on the wire."""

    _registry: ClassVar[dict[str, type[Message]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__ == __name__:
            return
        known = Message._registry.get(cls.__name__)
        if known is not None and known.__module__ != cls.__module__:
            raise TypeError(f"message {cls.__name__} is registered by {known.__module__}")
        Message._registry[cls.__name__] = cls


class Reply(Message, frozen=True, kw_only=True):
    """An answer. Named for what has happened, durably, when it is sent."""


R = TypeVar("R", covariant=True)


class Request(Message, Generic[R], frozen=True, kw_only=True):
    """A request whose answer is of type ``R``: ``class Get(Request[Value])``."""

    repeat: ClassVar[Repeat] = Repeat.READ


class Event(Message, frozen=True, kw_only=True):
    """Something that has happened, told to whoever listens."""


class Ping(Request["Pong"], frozen=True, kw_only=True):
    """The canary every node answers, without its service; also says who lives there."""


class Pong(Reply, frozen=True, kw_only=True):
    """The node lives: in its ``boot``-th life, as ``role``."""

    boot: int
    role: str


Message._registry["Ping"] = Ping
Message._registry["Pong"] = Pong


def registry() -> dict[str, type[Message]]:
    """All messages by name, in order of definition."""
    return dict(Message._registry)


def messages_of(module: str) -> dict[str, type[Message]]:
    """The messages that a module, or the modules of a package, define: by name, in that order."""
    return {
        name: message
        for name, message in Message._registry.items()
        if message.__module__ == module or message.__module__.startswith(f"{module}.")
    }


@cache
def reply_type(request: type[Request[Any]]) -> type[Reply]:
    """The reply class that ``request`` names in ``Request[...]``."""
    for base in getattr(request, "__orig_bases__", ()):
        origin = get_origin(base)
        if isinstance(origin, type) and issubclass(origin, Request):
            arg = get_args(base)[0]
            name = arg if isinstance(arg, str) else getattr(arg, "__forward_arg__", None)
            found = Message._registry[name] if name else arg
            if isinstance(found, type) and issubclass(found, Reply):
                return found
    raise TypeError(f"{request.__name__} does not say what answers it")


@cache
def fields_with_keys(cls: type[Message]) -> tuple[str, ...]:
    """Names of the fields of ``cls`` that carry key material."""
    return tuple(
        f.name
        for f in msgspec.structs.fields(cls)
        if f.type is Sealed or Sealed in get_args(f.type)
    )
