"""New keys for the other hosts of a cluster (STD-12), gathered for each host.

A message for each key and host would be n² messages in a cluster of n hosts that encrypts n VMs. So
the first key for a host begins a wait of ``key_gather_s``, which ends early when a message is full
(``config.keys_at_once``). Keys that arrive meanwhile, and until a sender is free, share one
``AddKeys``, which the host saves once. No task waits for it, and nothing is guaranteed: the host's
next pass of step B8 delivers what does not arrive.

Between its creation and its delivery a key may lose its right to be sent: its VM was removed
(STD-17), it was removed by force (SC-16), its provider was deleted (DEL-02). A key that still waits
is not sent then. A key that was sent, and may be sent again because the answer is missing, is
removed afterwards.

The values of these keys, and of no others, are in vCenter's memory between creation and delivery
(STD-15).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from protocol.errors import ProductError, SaveFailed
from protocol.messages.host import RESULT_BYTES
from protocol.pages import pages
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, NodeName, ProviderId
from services.runtime.ports import Clock
from services.vcenter.config import VcenterConfig
from services.vcenter.hosts.delivery import KeyDelivery
from services.vcenter.hosts.held_keys import HeldKeys
from services.vcenter.hosts.pass_queue import PassQueue
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import Inventory
from services.vcenter.knobs import VcenterNode
from services.vcenter.removals import not_wanted_there

SILENT_S: Final = 1.0
"""Lab seconds after which a host that has not answered gives its place to another one. Many hosts
that fall silent together would delay the rest of their cluster by a call's length for each
place."""


@dataclass
class _Gathered:
    """The keys for one host; ``due`` in lab seconds of the monotonic clock.

    ``values``: keys that may be sent, in ``held_keys`` until then. ``sent``: keys passed to the
    bus. ``late``: of these, those that no host should have any more.
    """

    session: HostSession
    due: float
    values: dict[CryptoKeyId, KeyMaterial] = field(default_factory=dict)
    sent: set[CryptoKeyId] = field(default_factory=set)
    late: dict[CryptoKeyId, None] = field(default_factory=dict)

    def withdraw(self, key: CryptoKeyId) -> None:
        self.values.pop(key, None)
        if key in self.sent:
            self.late[key] = None


class KeySharing:
    """Gathers and sends keys to ``config.shares_at_once`` hosts at a time, not counting silent
    ones."""

    def __init__(
        self,
        node: VcenterNode,
        clock: Clock,
        config: VcenterConfig,
        inventory: Inventory,
        passes: PassQueue,
        delivery: KeyDelivery,
        held: HeldKeys,
    ) -> None:
        self._node, self._clock, self._config = node, clock, config
        self._inventory, self._passes = inventory, passes
        self._delivery, self._held = delivery, held
        self._waiting: dict[NodeName, _Gathered] = {}  # in order of ``due``
        self._ready: dict[NodeName, _Gathered] = {}
        self._sending: dict[NodeName, _Gathered] = {}
        self._placed: set[NodeName] = set()  # the hosts among these that have a place
        self._begun, self._change = asyncio.Event(), asyncio.Event()

    def start(self) -> None:
        """Send keys from now on."""
        self._node.background("sharing", self._gather())
        self._node.background("sharing:hosts", self._serve())

    def give(
        self, session: HostSession, key: CryptoKeyId, material: KeyMaterial, *, takes_keys: bool
    ) -> None:
        """Give a new key for one more host; it is sent soon, without a wait.

        Keys whose provider was deleted since their creation are dropped. ``takes_keys``: the host
        is safe; otherwise its next pass, which the caller requests, makes it so and delivers the
        key.
        """
        if key.provider_id not in self._inventory.providers:
            return
        host, full = session.host, self._config.keys_at_once
        if not takes_keys and self._held.count(host) >= full:
            return  # the pass fetches it
        self._held.hold(host, key, material, shared=takes_keys)
        if not takes_keys:
            return
        if host not in self._ready and host not in self._waiting:
            due = self._clock.monotonic() + self._node.knobs.key_gather_s
            self._waiting[host] = _Gathered(session, due)
            self._begun.set()
        if self._held.count(host) >= full and host in self._waiting:
            self._enough(host)

    def withdraw(self, keys: Iterable[CryptoKeyId]) -> None:
        """No host may get these keys any more; see the module."""
        gone = tuple(keys)
        self._held.withdraw(gone)
        for key in gone:
            for gathered in self._sending.values():
                gathered.withdraw(key)

    def withdraw_all_of(self, provider: ProviderId) -> None:
        """As ``withdraw``, for all keys of a provider that was deleted."""
        self._held.withdraw_all_of(provider)
        every = self._sending.values()
        keys = {key: None for gathered in every for key in (*gathered.values, *gathered.sent)}
        self.withdraw(key for key in keys if key.provider_id == provider)

    def forget(self, host: NodeName) -> None:
        """The host left the inventory; keys that wait for it are dropped."""
        self._drop(host)

    def _drop(self, host: NodeName) -> None:
        """Drop keys that are not being sent yet."""
        self._waiting.pop(host, None)
        self._ready.pop(host, None)
        self._held.take_all(host)

    def _enough(self, host: NodeName) -> None:
        """End the wait."""
        self._ready[host] = self._waiting.pop(host)
        self._change.set()

    async def _gather(self) -> None:
        """End the waits, each at its time."""
        while True:
            host = next(iter(self._waiting), None)
            if host is None:
                self._begun.clear()
                await self._begun.wait()
                continue
            wait_s = self._waiting[host].due - self._clock.monotonic()
            if wait_s > 0:
                await self._clock.sleep(wait_s)
            else:
                self._enough(host)

    async def _serve(self) -> None:
        while True:
            host = await self._next()
            self._node.background(f"sharing:{host}", self._send_in_place(host))

    async def _send_in_place(self, host: NodeName) -> None:
        silent = self._clock.alarm(SILENT_S, lambda: self._give_place(host))
        await self._send(host)
        silent.cancel()
        del self._sending[host]  # with the values
        self._give_place(host)  # more keys may have arrived for it meanwhile

    def _give_place(self, host: NodeName) -> None:
        self._placed.discard(host)
        self._change.set()

    async def _next(self) -> NodeName:
        """The first host whose wait is over and to which nothing is being sent; a place is free."""
        while True:
            ready = next((h for h in self._ready if h not in self._sending), None)
            if ready is not None and len(self._placed) < self._config.shares_at_once:
                gathered = self._sending[ready] = self._ready.pop(ready)
                gathered.values = self._held.take_all(ready)
                self._placed.add(ready)
                return ready
            self._change.clear()
            await self._change.wait()

    async def _send(self, host: NodeName) -> None:
        """Send the present keys for this host, in one message or as many as needed."""
        gathered = self._sending[host]
        most = self._config.keys_at_once
        try:
            for page in pages(tuple(gathered.values), extra=RESULT_BYTES, at_most=most):
                values = [(key, gathered.values[key]) for key in page if key in gathered.values]
                gathered.sent.update(key for key, _ in values)
                if values and await self._delivery.deliver(gathered.session, values):
                    self._passes.want(host)
        except ProductError:
            self._drop(host)  # its pass delivers these too
            self._passes.cut_short(host)
        if gathered.late:
            await self._take_back(host, tuple(gathered.late))

    async def _take_back(self, host: NodeName, keys: tuple[CryptoKeyId, ...]) -> None:
        """The keys may have arrived after their removal: remove them again."""
        while host in self._inventory.hosts:
            edits = not_wanted_there(keys, host, self._inventory.deleted)
            try:
                await self._inventory.commit(*edits)
            except SaveFailed:  # no room on the disk: no key is created meanwhile either
                await self._clock.sleep(self._node.knobs.heartbeat_s)
                continue
            self._passes.want(host, removing=True)
            return
