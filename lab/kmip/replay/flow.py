"""The phase *flow*: keys as vCenter has them made, tagged, used, and fetched again.

Releases of vCenter differ in what they send."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar
from uuid import uuid4

from lab.kmip.replay import kinds
from lab.kmip.replay.findings import FindingKind
from lab.kmip.replay.journal import FailedStep, MadeKey, ReplayJournal, failures
from lab.kmip.replay.servers import ReplayedServer, ReplayRole
from protocol.crypto.wrap import NONCE_SIZE
from protocol.errors import CryptographicFailure, ProductError
from protocol.kmip import dialect
from protocol.kmip.dialect import OperationFailed
from protocol.kmip.enums import ResultReason, State
from protocol.kmip.payloads import GetAttributesRequest, GetAttributesResponse
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, ProviderId
from protocol.wrapped_keys import KEY_SIZE, parse_wrapped, unwrap_key, wrap_key
from services.keyservers.kmip_sessions import Tags
from services.runtime.each import for_each


class VcenterRelease(NamedTuple):
    """``version``: what it calls itself at a key server. ``attributes``: an administrator can give
    a key custom attributes (GenerateKey, since 8.0.1); ``wrapping``: one key of the server may wrap
    those of many VMs (since 9.0)."""

    version: str
    attributes: bool
    wrapping: bool

    @property
    def tags(self) -> Tags:
        """The first batch of attributes of a key, which says what made it."""
        values = (self.version, "VMware, Inc.", "VMware vSphere")
        return tuple(zip(dialect.PRODUCT, values, strict=True))


RELEASES: Final[Mapping[str, VcenterRelease]] = {
    "7.0": VcenterRelease("7.0.3 build-19480866", attributes=False, wrapping=False),
    "8.0": VcenterRelease("8.0.1 build-21560480", attributes=True, wrapping=False),
    "9.0": VcenterRelease("9.0.2 build-25148086", attributes=True, wrapping=True),
}
USUAL: Final = "8.0"


R = TypeVar("R")

NOBODYS: Final = "00000000-0000-4000-8000-000000000000"
"""An identifier that no server has given to a key."""
VIRTUAL_MACHINE: Final = "Virtual Machine"
HOST: Final = "ESXi Server"
VSAN_KEY: Final = "vSAN"
PRIMARY_KEY: Final = "primary key"
GENERATED: Final = "generated"
WRAPPING_KEY: Final = "wrapping key"
VSAN_HOSTS: Final = 3
_STATE: Final = "Get Attributes (State)"


class Flow:
    """What vCenter of that release does with one server at a time."""

    def __init__(self, journal: ReplayJournal, release: VcenterRelease) -> None:
        self._journal, self._product = journal, release.tags

    async def attempt(
        self, kind: FindingKind, server: ReplayedServer, act: Awaitable[R]
    ) -> R | None:
        """What ``act`` gives; None when it failed, which is a finding of that kind."""
        self._journal.check(kind.check, server.name)
        with failures() as failed:
            try:
                return await act
            except (ProductError, OperationFailed) as error:
                told = failed or [FailedStep("", f"{type(error).__name__}: {error}")]
        self._journal.fail(kind, server.name, told)
        return None

    async def look(self, server: ReplayedServer) -> None:
        """The periodic look at its health."""
        await self.attempt(kinds.HEALTH_FAILED, server, server.vcenter.health())

    # ---- tasks --------------------------------------------------------------------------------

    async def encrypt_first(self, server: ReplayedServer, number: int) -> None:
        """The first encrypted VM of a host: the host gets a key of its own, for core dumps, in the
        midst of it. Eight sessions, in the order of a recorded vCenter."""
        vm = await self.create(server, VIRTUAL_MACHINE)
        if vm is None:
            return
        _, host = await asyncio.gather(
            self.tag(server, vm, self._product), self.create(server, HOST)
        )
        if host is not None:
            used, _ = await asyncio.gather(
                self.use(server, host), self.tag(server, host, self._product)
            )
            if used:
                await self.tag(server, host, use_tags(HOST, f"replay-host-{number}"))
        if await self.use(server, vm):
            await self.tag(server, vm, use_tags(VIRTUAL_MACHINE, f"replay-vm-{number}"))

    async def encrypt(self, server: ReplayedServer, number: int) -> MadeKey | None:
        """A key as the encryption of another VM has it made, tagged and used; None without one."""
        key = await self.create(server, VIRTUAL_MACHINE)
        if key is None:
            return None
        await self.tag(server, key, self._product)
        if await self.use(server, key):
            await self.tag(server, key, use_tags(VIRTUAL_MACHINE, f"replay-vm-{number}"))
        return key

    async def generate(self, server: ReplayedServer) -> None:
        """A key that an administrator has made, with attributes, and that nobody uses yet."""
        key = await self.create(server, GENERATED)
        if key is not None:
            await self.tag(server, key, self._product)
            await self.tag(server, key, (("x-Replay", "made by an administrator"),))
            await self.status(server, key)

    async def make_wrapping_key(self, server: ReplayedServer) -> MadeKey | None:
        """A key under which vCenter wraps those of VMs, which stay with the VMs; None without
        one that is Active."""
        key = await self.create(server, WRAPPING_KEY, kinds.WRAPPING_KEY_FAILED)
        if key is None:
            return None
        await self.tag(server, key, self._product)
        failed, inactive = kinds.WRAPPING_KEY_FAILED, kinds.WRAPPING_KEY_NOT_ACTIVE
        return key if await self.use(server, key, failed, inactive) else None

    async def vsan(self, server: ReplayedServer) -> None:
        """vCenter makes the KEK and the host key of a vSAN cluster, and its hosts fetch them, all
        at once. A host shows what vCenter shows, or a certificate of its own."""
        keys = [await self._create_active_key(server, VSAN_KEY, self._product) for _ in range(2)]
        ids = [key.uid for key in keys if key is not None]

        async def host(_: int) -> None:
            for uid in ids:
                fetch = server.talk(ReplayRole.VSAN).use(uid, activate=False)
                used = await self.attempt(kinds.VSAN_FETCH_FAILED, server, fetch)
                if used is not None and used.state is not State.ACTIVE:
                    seen = f"the State of key {uid}: {_state(used.state)}"
                    self._journal.find(kinds.VSAN_KEY_NOT_ACTIVE, server.name, _STATE, seen)

        await for_each(range(VSAN_HOSTS), host, name="vsan-host")

    async def primary(self, server: ReplayedServer) -> None:
        """The owner of the key server makes the primary key of a trusted provider, and a Key
        Provider Service fetches it."""
        key = await self._create_active_key(server, PRIMARY_KEY, ())
        if key is not None:
            await self.fetch_primary(server, key.uid)

    async def fetch_primary(self, server: ReplayedServer, uid: str) -> None:
        """A Key Provider Service fetches its primary key, by its identifier."""
        fetch = server.talk(ReplayRole.KPS).use(uid, activate=False)
        await self.attempt(kinds.PRIMARY_KEY_FAILED, server, fetch)

    # ---- steps --------------------------------------------------------------------------------

    async def create(
        self, server: ReplayedServer, use: str, kind: FindingKind = kinds.CREATE_FAILED
    ) -> MadeKey | None:
        """A new key, which is Pre-Active."""
        uid = await self.attempt(kind, server, server.vcenter.create())
        if uid is None:
            return None
        self._journal.check(kinds.ANSWERS, server.name)
        return self._journal.record_key(uid, server.name, use)

    async def _create_active_key(
        self, server: ReplayedServer, use: str, tags: Tags
    ) -> MadeKey | None:
        """A new key that is Active, and whose value nobody has fetched yet."""
        key = await self.create(server, use)
        if key is None:
            return None
        if tags:
            await self.tag(server, key, tags)
        with failures() as failed:
            try:
                state = await server.vcenter.activate(key.uid)
            except (ProductError, OperationFailed):
                self._journal.fail(kinds.USE_FAILED, server.name, failed)
                return None
        if state is not State.ACTIVE:
            seen = f"the State of key {key.uid}: {_state(state)}"
            self._journal.find(kinds.KEY_NOT_ACTIVE, server.name, _STATE, seen)
            return None
        return key

    async def tag(self, server: ReplayedServer, key: MadeKey, tags: Tags) -> bool:
        """Three attributes of a key; whether it has them."""
        self._journal.check(kinds.TAGGED, server.name)
        with failures() as failed:
            if await server.vcenter.tag(key.uid, tags):
                key.tags.update(tags)
                return True
        self._journal.fail(kinds.TAG_FAILED, server.name, failed)
        return False

    async def use(
        self,
        server: ReplayedServer,
        key: MadeKey,
        failed: FindingKind = kinds.USE_FAILED,
        inactive: FindingKind = kinds.KEY_NOT_ACTIVE,
    ) -> bool:
        """Fetch a new key and activate it; whether it may be used. ``failed`` and ``inactive``: the
        findings when it cannot be fetched, and when it is not Active then."""
        used = await self.attempt(failed, server, server.vcenter.use(key.uid))
        if used is None:
            return False
        self._journal.check(kinds.VALUES, server.name)
        key.value = used.material
        if used.state is not State.ACTIVE:
            self.find_state(inactive, server, key, used.state)
            return False
        return True

    def find_state(
        self, kind: FindingKind, server: ReplayedServer, key: MadeKey, state: State | None
    ) -> None:
        """Write down that a key has a State that it should not have."""
        seen = f"the State of key {key.uid}: {_state(state)}"
        self._journal.find(kind, server.name, _STATE, seen)

    async def fetch(
        self, server: ReplayedServer, keys: Sequence[MadeKey], kind: FindingKind
    ) -> None:
        """Each of these keys again, as hosts that have rebooted need it. Whether it has the value
        of before is seen where answers are inspected."""
        for key in keys:
            used = await self.attempt(kind, server, server.vcenter.use(key.uid))
            key.lost = used is None

    async def status(self, server: ReplayedServer, key: MadeKey) -> None:
        """The State of a key, as its status asks for it."""
        await self.attempt(kinds.STATUS_FAILED, server, server.vcenter.state(key.uid))

    async def verify_tag(self, server: ReplayedServer, key: MadeKey) -> None:
        """Whether a tag that the server took is there, which vCenter does not ask."""
        name, value = list(key.tags.items())[-1]
        step = f"Get Attributes ({name})"
        asked = GetAttributesRequest(unique_identifier=key.uid, attribute_name=(name,))
        look = server.vcenter.run_operation(step, asked, GetAttributesResponse)
        kept = await self.attempt(kinds.TAG_FAILED, server, look)
        if kept is None:
            return
        values = [one.attribute_value for one in kept.attribute if one.attribute_name == name]
        if values != [value]:
            seen = f"{name} of key {key.uid} is {values[0] if values else 'not there'}"
            self._journal.find(kinds.TAGS_LOST, server.name, step, seen)

    async def missing(self, server: ReplayedServer) -> None:
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


def _state(state: State | None) -> str:
    return state.title if state else "none that KMIP has"


def use_tags(component: str, name: str) -> Tags:
    """The second batch of a key's attributes, which say what it is for."""
    return tuple(zip(dialect.USE, (str(uuid4()), component, name), strict=True))


Sleep = Callable[[float], Awaitable[None]]


_PROVIDER: Final = ProviderId("replay")
_GET: Final = "Get"


class WrappedKeyFlow:
    """Wrapped keys of vCenter 9.0 at one server (KEY-07 to KEY-09): from the first wrapping key to
    a boot of a host after a rotation.

    vCenter has a wrapping key made at the server and wraps keys of VMs itself: the server gets no
    request for a VM's key. It keeps no value of the wrapping key (STD-15), so each task fetches it,
    and each boot of a host fetches every wrapping key once. After a rotation the earlier key has to
    stay.

    No session of 9.0 was recorded: which messages there are follows from
    [decision 113](docs/decisions/0113-a-wrapped-key-is-its-id.md).
    """

    def __init__(self, journal: ReplayJournal, flow: Flow) -> None:
        self._journal, self._flow = journal, flow
        self._wrapped: dict[str, list[KeyId]] = {}  # ids of wrapped keys by wrapping key

    async def play(self, server: ReplayedServer, keys: int) -> None:
        """Wrap the keys of that many VMs, rotate, wrap one more, and unwrap all of them."""
        first = await self._flow.make_wrapping_key(server)
        if first is None:
            return
        for _ in range(keys):
            await self._encrypt(server, first)
        second = await self._flow.make_wrapping_key(server)
        if second is not None:
            await self._encrypt(server, second)
        for wrapping in (first, second):
            if wrapping is not None:
                await self._boot(server, wrapping)

    async def _encrypt(self, server: ReplayedServer, wrapping: MadeKey) -> None:
        """A VM is encrypted: its key is made and wrapped here."""
        material = await self._fetch(server, wrapping)
        if material is None:
            return
        secret = KeyMaterial(secrets.token_bytes(KEY_SIZE))
        nonce = secrets.token_bytes(NONCE_SIZE)
        made = wrap_key(KeyId(wrapping.uid), material, _PROVIDER, secret, nonce)
        self._wrapped.setdefault(wrapping.uid, []).append(made)

    async def _boot(self, server: ReplayedServer, wrapping: MadeKey) -> None:
        """A host that has lost its cache needs all keys under ``wrapping``, for one Get."""
        ids = self._wrapped.get(wrapping.uid, [])
        material = await self._fetch(server, wrapping) if ids else None
        if material is None:
            return
        closed = [key_id for key_id in ids if not _opens(key_id, material)]
        if closed:
            seen = f"{len(closed)} of {len(ids)} keys under {wrapping.uid} do not open"
            self._journal.find(kinds.WRAPPING_KEY_CHANGED, server.name, _GET, seen)

    async def _fetch(self, server: ReplayedServer, wrapping: MadeKey) -> KeyMaterial | None:
        """The value of a wrapping key, if it is there and Active."""
        fetch = server.vcenter.use(wrapping.uid)
        used = await self._flow.attempt(kinds.WRAPPING_KEY_LOST, server, fetch)
        wrapping.lost = used is None
        if used is None:
            return None
        if used.state is not State.ACTIVE:
            kind = kinds.WRAPPING_KEY_NOT_ACTIVE
            self._flow.find_state(kind, server, wrapping, used.state)
            return None
        return used.material


def _opens(key_id: KeyId, material: KeyMaterial) -> bool:
    wrapped = parse_wrapped(key_id)
    if wrapped is None:
        return False
    try:
        unwrap_key(wrapped, material, _PROVIDER)
    except CryptographicFailure:
        return False
    return True
