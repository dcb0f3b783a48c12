"""Asks key servers in the name of clients, and records what each of these saw, and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Final

from chaos.history import History
from protocol.attributes import Attribute, ObjectName
from protocol.errors import ProductError
from protocol.messages.base import Request, Sealed
from protocol.messages.kms import administration as admin_messages
from protocol.messages.kms import keys as key_messages
from protocol.messages.vcenter.providers import GenerateKey, KeyGenerated
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, KeyId, KmipState, NodeName, RevocationReason
from tests.linear import acts

Ask = Callable[[str, NodeName, Request[Any]], Awaitable[Any]]
"""Hands a client's message to a server; ``ProductError`` when it is refused, or not answered."""
_SECRET: Final = b"keystead: the values of keys in a history"


class Clients:
    """Clients of the key servers of one run. Each method is one operation; it answers what the
    client was told, None when it was not told that it is done."""

    def __init__(self, ask: Ask, history: History) -> None:
        self._ask, self._history = ask, history
        self._numbers = itertools.count(1)
        self._values: dict[str, int] = {}

    async def create(
        self, client: str, server: NodeName, operation: str, *, activate: bool = True
    ) -> str | None:
        """Create, Activate if asked, and Get; the key's id."""
        message = key_messages.CreateKey(operation_id=operation, activate=activate, get=True)
        asked = {"operation": operation, "activate": activate}
        return _uid(await self._do(acts.CREATE, client, server, message, asked))

    async def generate(self, client: str, server: NodeName, operation: str) -> str | None:
        """A key that vCenter has a key server make: ``server``, or another one of its group."""
        message = GenerateKey(operation_id=operation)
        asked = {"operation": operation, "through": "vcenter"}
        return _uid(await self._do(acts.CREATE, client, server, message, asked))

    async def register(
        self, client: str, server: NodeName, operation: str, name: str, value: bytes
    ) -> str | None:
        """Register a key of 32 bytes with a Name; the key's id."""
        secret = KeyMaterial(value)
        named = Attribute(name="Name", value=ObjectName(value=name))
        message = key_messages.RegisterKey(
            operation_id=operation, material=Sealed.of(secret), attributes=(named,)
        )
        told = {"value": self._number(secret)}
        return _uid(await self._do(acts.REGISTER, client, server, message, {"name": name}, told))

    async def get(self, client: str, server: NodeName, uid: str) -> dict[str, Any] | None:
        """The state and the value of a key."""
        message = key_messages.GetKeys(key_ids=(KeyId(uid),))
        return await self._do(acts.GET, client, server, message, {"uid": uid})

    async def attributes(self, client: str, server: NodeName, uid: str) -> dict[str, Any] | None:
        """The state of a key."""
        message = key_messages.GetAttributes(key_ids=(KeyId(uid),))
        return await self._do(acts.ATTRIBUTES, client, server, message, {"uid": uid})

    async def locate(self, client: str, server: NodeName, name: str) -> dict[str, Any] | None:
        """The keys that have a Name."""
        named = Attribute(name="Name", value=ObjectName(value=name))
        message = key_messages.Locate(attributes=(named,))
        return await self._do(acts.LOCATE, client, server, message, {"name": name})

    async def change(
        self, op: str, client: str, server: NodeName, uid: str
    ) -> dict[str, Any] | None:
        """``acts.ACTIVATE``, ``REVOKE``, ``COMPROMISE`` or ``DESTROY``."""
        key = KeyId(uid)
        message: Request[Any]
        match op:
            case acts.ACTIVATE:
                message = key_messages.Activate(key_id=key)
            case acts.REVOKE:
                message = key_messages.Revoke(key_id=key)
            case acts.COMPROMISE:
                message = key_messages.Revoke(key_id=key, reason=RevocationReason.KEY_COMPROMISE)
            case _:
                message = key_messages.Destroy(key_id=key)
        return await self._do(op, client, server, message, {"uid": uid})

    async def rotate(self, client: str, server: NodeName, after: int) -> dict[str, Any] | None:
        """Another KEK than number ``after``."""
        return await self._do(
            acts.ROTATE, client, server, admin_messages.RotateKek(after=after), {"after": after}
        )

    async def custody(self, client: str, server: NodeName) -> dict[str, Any] | None:
        """The number of the KEK."""
        return await self._do(acts.CUSTODY, client, server, admin_messages.QueryCustody(), {})

    async def _do(
        self,
        op: str,
        client: str,
        server: NodeName,
        message: Request[Any],
        asked: dict[str, Any],
        told: dict[str, Any] | None = None,
    ) -> dict[str, Any] | None:
        number = next(self._numbers)
        self._history.add("invoke", server, op=op, n=number, client=client, **asked)
        try:
            answer = await self._ask(client, server, message)
        except ProductError as error:
            how = "fail" if error.definite else "info"
            self._history.add(how, server, op=op, n=number, error=type(error).__name__)
            return None
        seen = self._answer_fields(answer) | (told or {})
        self._history.add("ok", server, op=op, n=number, **seen)
        return seen

    def _answer_fields(self, answer: Any) -> dict[str, Any]:
        """What a client learns from an answer."""
        match answer:
            case key_messages.KeyCreated():
                held = answer.material.keys if answer.material is not None else ()
                value = {"value": self._number(held[0])} if held else {}
                return {"uid": str(answer.key_id), "state": answer.state.value, **value}
            case KeyGenerated(key=CryptoKeyId(key_id=uid)):
                return {"uid": str(uid), "state": KmipState.PRE_ACTIVE.value}
            case key_messages.KeyValues():
                [found] = answer.values
                state = "" if found.state is None else found.state.value
                if found.index is None:
                    return {"state": state}
                return {"state": state, "value": self._number(answer.material.keys[found.index])}
            case key_messages.AttributeList():
                return {"state": answer.keys[0].state.value if answer.keys else ""}
            case key_messages.Located():
                return {"uids": [str(uid) for uid in answer.key_ids]}
            case admin_messages.KeyCustody():
                return {"kek": answer.kek}
            case _:
                return {"state": answer.state.value}

    def _number(self, secret: KeyMaterial) -> int:
        """Under which a history knows a value; the value itself is in none."""
        known = secret.fingerprint(_SECRET)
        return self._values.setdefault(known, len(self._values) + 1)


def _uid(told: dict[str, Any] | None) -> str | None:
    return None if told is None else str(told["uid"])
