"""The base classes of messages, the registry, and the type of fields that carry keys.

The ``repeat`` of a message class states the effect of receiving it twice. ``read``: none.
``converge``: the message names a wanted state, so twice is once. ``create``: the message carries an
``operation_id``, which the requester keeps over its retries and the receiver stores in the row that
it creates.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

import msgspec

from protocol.secret import KeyMaterial

NIL = msgspec.Raw(b"\xc0")
"""msgpack's nil, in place of a body that is absent."""


class Repeat(StrEnum):
    """The effect of receiving a request twice; see the docstring of this module."""

    READ = "read"
    CONVERGE = "converge"
    CREATE = "create"


class Sealed:
    """A field that carries key material.

    The sender creates it with the clear keys (``Sealed.of``). The bus port puts the keys into a box
    of the envelope, sealed to the receiver, and leaves the number of the box in the body
    (``Sealed.boxed``); the receiver's bus port restores the keys before the handler sees the
    message. The codec refuses to encode a field with clear keys, so that they cannot reach the
    wire.
    """

    __slots__ = ("_keys", "box")

    def __init__(self, keys: tuple[KeyMaterial, ...] | None, box: int | None) -> None:
        self._keys = keys
        self.box = box

    @classmethod
    def of(cls, *keys: KeyMaterial) -> Sealed:
        """A field with these clear keys, for a message to be sent."""
        return cls(keys, None)

    @classmethod
    def in_box(cls, box: int) -> Sealed:
        """A field whose keys are in box number ``box`` (from 0) of the envelope."""
        return cls(None, box)

    @property
    def keys(self) -> tuple[KeyMaterial, ...]:
        """The keys in the sender's order; ``ValueError`` while they are in a box."""
        if self._keys is None:
            raise ValueError("this field is still sealed")
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
    """An answer. Its name states what has happened, durably, when it is sent."""


R = TypeVar("R", covariant=True)


class Request(Message, Generic[R], frozen=True, kw_only=True):
    """A request whose answer is of type ``R``: ``class Get(Request[Value])``."""

    repeat: ClassVar[Repeat] = Repeat.READ


class Event(Message, frozen=True, kw_only=True):
    """Something that has happened, broadcast to all who subscribe."""


class Ping(Request["Pong"], frozen=True, kw_only=True):
    """The canary that every node answers without its service."""


class Pong(Reply, frozen=True, kw_only=True):
    """The node runs its ``boot``-th life, as ``role``."""

    boot: int
    role: str


Message._registry["Ping"] = Ping
Message._registry["Pong"] = Pong


def registry() -> dict[str, type[Message]]:
    """All messages by name, in order of definition."""
    return dict(Message._registry)


def messages_of(module: str) -> dict[str, type[Message]]:
    """The messages that a module, or the modules of a package, define: name to class, in order."""
    return {
        name: message
        for name, message in Message._registry.items()
        if message.__module__ == module or message.__module__.startswith(f"{module}.")
    }


@cache
def reply_type(request: type[Request[Any]]) -> type[Reply]:
    """The reply class in ``Request[...]`` of ``request``."""
    for base in getattr(request, "__orig_bases__", ()):
        origin = get_origin(base)
        if isinstance(origin, type) and issubclass(origin, Request):
            arg = get_args(base)[0]
            name = arg if isinstance(arg, str) else getattr(arg, "__forward_arg__", None)
            found = Message._registry[name] if name else arg
            if isinstance(found, type) and issubclass(found, Reply):
                return found
    raise TypeError(f"{request.__name__} names no reply class")


@cache
def fields_with_keys(cls: type[Message]) -> tuple[str, ...]:
    """Names of the fields of ``cls`` that carry key material."""
    return tuple(
        f.name
        for f in msgspec.structs.fields(cls)
        if f.type is Sealed or Sealed in get_args(f.type)
    )
