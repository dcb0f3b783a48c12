"""The phase *flow*: keys as vCenter has them made, tagged, used, and fetched again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar
from uuid import uuid4

from lab.kmip.replay import kinds
from lab.kmip.replay.findings import Kind
from lab.kmip.replay.journal import Failed, Journal, Key, failures
from lab.kmip.replay.servers import Server
from protocol.errors import ProductError
from protocol.kmip import dialect
from protocol.kmip.dialect import OperationFailed
from protocol.kmip.enums import ResultReason, State
from protocol.kmip.payloads import GetAttributesResponse
from services.keyservers.dialogue import Tags

R = TypeVar("R")

NOBODYS: Final = "00000000-0000-4000-8000-000000000000"
"""An identifier that no server has given to a key."""
VIRTUAL_MACHINE: Final = "Virtual Machine"
_STATE: Final = "Get Attributes (State)"

PRODUCT_TAGS: Final[Tags] = tuple(
    zip(dialect.PRODUCT, ("8.0.1 build-21560480", "VMware, Inc.", "VMware vSphere"), strict=True)
)


class Flow:
    """What vCenter does with one server at a time."""

    def __init__(self, journal: Journal, product: Tags = PRODUCT_TAGS) -> None:
        self._journal, self._product = journal, product

    async def attempt(self, kind: Kind, server: Server, act: Awaitable[R]) -> R | None:
        """What ``act`` gives; None when it failed, which is a finding of that kind."""
        self._journal.check(kind.check, server.name)
        with failures() as failed:
            try:
                return await act
            except (ProductError, OperationFailed) as error:
                told = failed or [Failed("", f"{type(error).__name__}: {error}")]
        self._journal.fail(kind, server.name, told)
        return None

    async def look(self, server: Server) -> None:
        """The periodic look at its health."""
        await self.attempt(kinds.HEALTH_FAILED, server, server.vcenter.health())

    async def encrypt(self, server: Server, number: int) -> Key | None:
        """A key as the encryption of a VM has it made, tagged and used; None when none came."""
        key = await self.create(server, VIRTUAL_MACHINE)
        if key is None:
            return None
        await self.tag(server, key, self._product)
        if await self.use(server, key):
            await self.tag(server, key, use_tags(VIRTUAL_MACHINE, f"replay-vm-{number}"))
        return key

    # ---- steps --------------------------------------------------------------------------------

    async def create(self, server: Server, use: str) -> Key | None:
        """A new key, which is Pre-Active."""
        uid = await self.attempt(kinds.CREATE_FAILED, server, server.vcenter.create())
        if uid is None:
            return None
        self._journal.check(kinds.ANSWERS, server.name)
        return self._journal.made(uid, server.name, use)

    async def tag(self, server: Server, key: Key, tags: Tags) -> bool:
        """Three attributes of a key; whether it has them."""
        self._journal.check(kinds.TAGGED, server.name)
        with failures() as failed:
            if await server.vcenter.tag(key.uid, tags):
                key.tags.update(tags)
                return True
        self._journal.fail(kinds.TAG_FAILED, server.name, failed)
        return False

    async def use(self, server: Server, key: Key) -> bool:
        """Fetch a new key and activate it; whether it may be used."""
        used = await self.attempt(kinds.USE_FAILED, server, server.vcenter.use(key.uid))
        if used is None:
            return False
        self._journal.check(kinds.VALUES, server.name)
        key.value = used.material
        if used.state is not State.ACTIVE:
            named = used.state.label if used.state else "none that KMIP knows"
            self._journal.find(
                kinds.KEY_NOT_ACTIVE, server.name, _STATE, f"the State of key {key.uid}: {named}"
            )
            return False
        return True

    async def fetch(self, server: Server, keys: Sequence[Key], kind: Kind) -> None:
        """Each of these keys again, as hosts that have rebooted need it. Whether it has the value
        of before is seen where answers are inspected."""
        for key in keys:
            await self.attempt(kind, server, server.vcenter.use(key.uid))

    async def status(self, server: Server, key: Key) -> None:
        """The State of a key, as its status asks for it."""
        await self.attempt(kinds.STATUS_FAILED, server, server.vcenter.state(key.uid))

    async def tagged(self, server: Server, key: Key) -> None:
        """Whether a tag that the server took is there, which vCenter does not ask."""
        name, value = list(key.tags.items())[-1]
        step = f"Get Attributes ({name})"
        asked = dialect.get_tag(key.uid, name)
        look = server.vcenter.said(step, asked, GetAttributesResponse)
        kept = await self.attempt(kinds.TAG_FAILED, server, look)
        if kept is None:
            return
        values = [one.attribute_value for one in kept.attribute if one.attribute_name == name]
        if values != [value]:
            seen = f"{name} of key {key.uid} is {values[0] if values else 'not there'}"
            self._journal.find(kinds.TAGS_LOST, server.name, step, seen)

    async def missing(self, server: Server) -> None:
        """A key that nobody has: the reason is to be Item Not Found."""
        journal, name = self._journal, server.name
        journal.check(kinds.MISSING, name)
        with failures() as failed:
            try:
                await server.vcenter.use(NOBODYS)
            except OperationFailed as refused:
                if refused.reason == ResultReason.ITEM_NOT_FOUND:
                    return
            except ProductError:
                pass
            else:
                journal.find(kinds.MISSING_KEY_SERVED, name, "Get", f"a key, for {NOBODYS}")
                return
        journal.fail(kinds.MISSING_KEY_HIDDEN, name, failed)


def use_tags(component: str, name: str) -> Tags:
    """The second batch of a key's attributes, which say what it is for."""
    return tuple(zip(dialect.USE, (str(uuid4()), component, name), strict=True))


Sleep = Callable[[float], Awaitable[None]]
