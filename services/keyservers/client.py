"""Requests to a key server in the lab's messages, over the bus or over KMIP.

Over KMIP each becomes vCenter's sessions; a refusal (a Result Reason of KMIP) becomes an error of
this lab.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar, cast

from protocol.attributes import Attribute
from protocol.errors import (
    AuthenticationNotSuccessful,
    CryptographicFailure,
    FeatureNotSupported,
    GeneralFailure,
    IllegalOperation,
    InvalidArgument,
    InvalidField,
    InvalidMessage,
    InvalidState,
    ItemNotFound,
    NotAvailable,
    NotExtractable,
    NotSent,
    PermissionDenied,
    ProductError,
    ResponseTooLarge,
    Sensitive,
    TlsFailure,
    WrongKeyLifecycleState,
)
from protocol.kmip import dialect
from protocol.kmip.dialect import Login, OperationFailed
from protocol.kmip.enums import ResultReason, State
from protocol.messages.agent import KMS_BOUNDS_MS, kms_counter
from protocol.messages.base import Request, Sealed
from protocol.messages.kms import keys as m
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState
from services.keyservers.address import Address, BusAddress, Kmip
from services.keyservers.kmip_sessions import Dialogue, NotActivated, OnStep, Tags
from services.runtime import ports
from services.runtime.each import for_each
from services.runtime.streams import Stream, Streams, TlsIdentity

_ERRORS: Final[dict[int, type[ProductError]]] = {
    ResultReason.ITEM_NOT_FOUND: ItemNotFound,
    ResultReason.RESPONSE_TOO_LARGE: ResponseTooLarge,
    ResultReason.AUTHENTICATION_NOT_SUCCESSFUL: AuthenticationNotSuccessful,
    ResultReason.PERMISSION_DENIED: PermissionDenied,
    ResultReason.INVALID_FIELD: InvalidField,
    ResultReason.CRYPTOGRAPHIC_FAILURE: CryptographicFailure,
    ResultReason.ILLEGAL_OPERATION: IllegalOperation,
    ResultReason.OPERATION_NOT_SUPPORTED: FeatureNotSupported,
    ResultReason.FEATURE_NOT_SUPPORTED: FeatureNotSupported,
    ResultReason.INVALID_MESSAGE: InvalidMessage,
    ResultReason.SENSITIVE: Sensitive,
    ResultReason.NOT_EXTRACTABLE: NotExtractable,
}


def by_the_server(error: TlsFailure) -> bool:
    """Whether the server ended the handshake, with an alert; otherwise this end did."""
    return "alert" in str(error)


def error_of(refused: OperationFailed) -> ProductError:
    """The error; ``GeneralFailure`` for a reason without a counterpart."""
    reason = refused.reason
    kind = GeneralFailure if reason is None else _ERRORS.get(reason, GeneralFailure)
    return kind(str(refused))


R = TypeVar("R")
T = TypeVar("T")
Tagging = Sequence[Tags]

_NO_STREAMS: Final = "this node has no connections to KMIP servers"
_VCENTERS: Final = ("AES", 256, 12)
AT_ONCE: Final = 8
"""How many keys are requested at once, over a connection each."""
_STATES: Final = {
    State.PRE_ACTIVE: KmipState.PRE_ACTIVE,
    State.ACTIVE: KmipState.ACTIVE,
    State.DEACTIVATED: KmipState.DEACTIVATED,
    State.COMPROMISED: KmipState.COMPROMISED,
    State.DESTROYED: KmipState.DESTROYED,
    State.DESTROYED_COMPROMISED: KmipState.DESTROYED_COMPROMISED,
}


class KeyServers:
    """The key servers of one node.

    ``identity``: called at each KMIP connection; what the node presents. ``activates``: a fetched
    key that is Pre-Active is activated, as vCenter does; otherwise its state is reported.
    """

    def __init__(
        self,
        bus: ports.Bus,
        streams: Streams | None,
        clock: ports.Clock,
        identity: Callable[[], TlsIdentity],
        *,
        pooled: bool = False,
        activates: bool = True,
        on_step: OnStep = lambda step: None,
    ) -> None:
        self._bus, self._streams, self._clock, self._identity = bus, streams, clock, identity
        self._pooled, self._activates, self._on_step = pooled, activates, on_step
        self._dialogues: dict[tuple[Kmip, float], tuple[Login | None, Dialogue]] = {}

    async def request(
        self,
        to: Address,
        message: Request[R],
        *,
        within_s: float,
        login: Login | None = None,
        tags: Tagging = (),
    ) -> R:
        """The server's answer. Raises as ``Bus.request``, and ``TlsFailure`` over KMIP.

        ``within_s``: lab seconds for the answer, over KMIP for each handshake and each message.
        ``tags``: the attributes that a KMIP server gets for a new key, the first batch before its
        use. How long it took is counted in the node's status.
        """
        began = self._clock.monotonic()
        try:
            answer = await self._request(to, message, within_s, login, tags)
        except Exception:
            self._bus.count("kms_failed")
            raise
        took_s = self._clock.monotonic() - began
        within = (bound for bound in KMS_BOUNDS_MS if took_s * 1e3 <= bound)
        self._bus.count(kms_counter(next(within, None)))
        self._bus.count("kms_total_us", round(took_s * 1e6))
        return answer

    async def _request(
        self, to: Address, message: Request[R], within_s: float, login: Login | None, tags: Tagging
    ) -> R:
        if isinstance(to, BusAddress):
            return await self._bus.request(to.node, message, within_s=within_s)
        act = _ACTS.get(type(message))
        if act is None:
            raise NotAvailable(f"vCenter does not send {type(message).__name__} to a KMIP server")
        try:
            return cast(R, await act(self, self._dialogue(to, login, within_s), message, tags))
        except NotActivated as refused:
            raise WrongKeyLifecycleState(f"the key stays Pre-Active: {refused}") from None
        except dialect.OperationFailed as refused:
            raise error_of(refused) from None

    async def certificate(self, to: Kmip, *, within_s: float) -> bytes:
        """The certificate (DER) that the server presents, trusted or not; raises as ``request``."""
        if self._streams is None:
            raise NotAvailable(_NO_STREAMS)
        anyone = dataclasses.replace(self._identity(), anyone=True)
        stream = await self._streams.connect(to.to, anyone, within_s=within_s)
        stream.close()
        return stream.peer

    def close(self) -> None:
        """Close pooled connections."""
        for _, dialogue in self._dialogues.values():
            dialogue.close()
        self._dialogues.clear()

    def _dialogue(self, to: Kmip, login: Login | None, within_s: float) -> Dialogue:
        streams = self._streams
        if streams is None:
            raise NotAvailable(_NO_STREAMS)
        key = to, within_s
        user, known = self._dialogues.get(key, (None, None))
        if known is not None and user == login:
            return known
        if known is not None:
            known.close()
        made = Dialogue(
            lambda: self._connect(streams, to, within_s),
            self._clock,
            within_s=within_s,
            login=login,
            pooled=self._pooled,
            on_step=self._on_step,
        )
        self._dialogues[key] = login, made
        return made

    async def _connect(self, streams: Streams, to: Kmip, within_s: float) -> Stream:
        """An error at this end is not an answer of the server: ``NotSent``."""
        try:
            return await streams.connect(to.to, self._identity(), within_s=within_s)
        except (InvalidArgument, InvalidState, NotAvailable) as error:
            raise NotSent(str(error)) from None

    # ---- the KMIP form of each message ------------------------------------------------------

    async def _create(self, server: Dialogue, message: m.CreateKey, tags: Tagging) -> m.KeyCreated:
        if (message.algorithm, message.length, message.usage_mask) != _VCENTERS:
            raise FeatureNotSupported("vCenter requests AES-256 keys only from a KMIP server")
        uid, state = await server.create(), State.PRE_ACTIVE
        material: Sealed | None = None
        for batch in tags[:1]:
            await server.tag(uid, batch)
        if message.get:
            used = await server.use(uid)
            material, state = Sealed.of(used.material), _in_force(used.state)
        elif message.activate:
            state = _in_force(await server.activate(uid))
        for batch in tags[1:]:
            await server.tag(uid, batch)
        return m.KeyCreated(key_id=KeyId(uid), state=_STATES[state], material=material)

    async def _get(self, server: Dialogue, message: m.GetKeys, _: Tagging) -> m.KeyValues:
        found = await for_each(
            message.key_ids,
            lambda key_id: _of_one(key_id, _in_use(server, key_id, activate=self._activates)),
            at_once=AT_ONCE,
            name="get",
        )
        values, keys = list[m.KeyValue](), list[KeyMaterial]()
        for key_id, used in zip(message.key_ids, found, strict=True):
            if used is None:
                values.append(m.KeyValue(key_id=key_id, state=None))
                continue
            material, state = used
            index = None if material is None else len(keys)
            values.append(m.KeyValue(key_id=key_id, state=_STATES[state], index=index))
            keys += [material] if material is not None else []
        return m.KeyValues(values=tuple(values), material=Sealed.of(*keys))

    async def _attributes(
        self, server: Dialogue, message: m.GetAttributes, _: Tagging
    ) -> m.AttributeList:
        found = await for_each(
            message.key_ids,
            lambda key_id: _of_one(key_id, _state(server, key_id)),
            at_once=AT_ONCE,
            name="get-attributes",
        )
        return m.AttributeList(
            keys=tuple(
                m.KeyAttributes(key_id=key_id, state=_STATES[state])
                for key_id, state in zip(message.key_ids, found, strict=True)
                if state is not None
            )
        )

    async def _activate(self, server: Dialogue, message: m.Activate, _: Tagging) -> m.KeyState:
        state = _in_force(await server.activate(message.key_id))
        return m.KeyState(key_id=message.key_id, state=_STATES[state])

    async def _add_attribute(
        self, server: Dialogue, message: m.AddAttribute, _: Tagging
    ) -> m.AttributeChanged:
        if not isinstance(message.value, str):
            raise FeatureNotSupported("vCenter writes attributes of text only to a KMIP server")
        await server.set_text(message.key_id, message.name, message.value)
        attribute = Attribute(name=message.name, value=message.value)
        return m.AttributeChanged(key_id=message.key_id, attribute=attribute)

    async def _health(
        self, server: Dialogue, _: m.DiscoverVersions, __: Tagging
    ) -> m.ServerVersions:
        return m.ServerVersions(versions=await server.health())


_ACTS: Final[dict[type[Any], Callable[..., Awaitable[Any]]]] = {
    m.CreateKey: KeyServers._create,
    m.GetKeys: KeyServers._get,
    m.GetAttributes: KeyServers._attributes,
    m.Activate: KeyServers._activate,
    m.AddAttribute: KeyServers._add_attribute,
    m.DiscoverVersions: KeyServers._health,
}


def _in_force(state: State | None) -> State:
    """The state that the server has returned; a key without one must not be used."""
    if state is None:
        raise GeneralFailure("the server names no State of the key")
    return state


async def _in_use(
    server: Dialogue, key_id: KeyId, *, activate: bool
) -> tuple[KeyMaterial | None, State]:
    """A key that cannot be activated must not be used, and is returned without its value
    (STD-18)."""
    try:
        used = await server.use(key_id, activate=activate)
    except NotActivated:
        return None, State.PRE_ACTIVE
    return used.material, _in_force(used.state)


async def _state(server: Dialogue, key_id: KeyId) -> State:
    return _in_force(await server.state(key_id))


async def _of_one(key_id: KeyId, reply: Awaitable[T]) -> T | None:
    """None for a key that the server does not have.

    ``CryptographicFailure`` when it refuses this key, by a permission or for what it is, and
    ``WrongKeyLifecycleState`` for an unknown State: that says nothing of other keys, nor of the
    server. Refused credentials are raised unchanged.
    """
    try:
        return await reply
    except dialect.OperationFailed as refused:
        if refused.reason == ResultReason.ITEM_NOT_FOUND:
            return None
        if refused.reason == ResultReason.AUTHENTICATION_NOT_SUCCESSFUL:
            raise
        raise CryptographicFailure(f"key {key_id}: {refused}") from None
    except GeneralFailure as error:
        raise WrongKeyLifecycleState(f"key {key_id}: {error}") from None
