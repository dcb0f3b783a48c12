"""The data bus of a lab on servers that somebody else runs, in an account of its own there: whether
these servers will do, tried before a node starts; what they do to nodes while a lab runs; and
what their administrator has to load.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from lab.brokers.configuration import account, node_user, tap_user
from lab.brokers.data_bus import DataBus, Statuses
from lab.brokers.identities import TAP, Identities
from lab.brokers.monitoring import NoServer, fetch_greeting, find_rejection
from lab.brokers.program import MINIMUM
from lab.brokers.server import Broker
from lab.schema.errors import KeysteadError
from lab.state.scratch import state_home
from lab.topology.plan import BusPlan, Topology
from lab.topology.secret_files import read_soon
from protocol.codec import SIZE_LIMIT
from protocol.errors import NotAvailable, NotSent, ProductError
from protocol.messages.agent import NodeRunState, NodeStatus
from protocol.subjects import own_subscription, reply_prefix
from protocol.terms import NodeName
from services.runtime.each import for_each
from services.runtime.real.broker_tls import ForeignServersTls
from services.runtime.real.connection import BrokerConnection, ConnectionOptions

AT_ONCE: Final = 16  # nodes that are tried side by side
LISTEN_S: Final = 1.0  # real seconds in which others of the account would be heard
PATIENCE_S: Final = 3.0  # until what was sent must have come, and what was refused be told
NOBODY: Final = "nobody"
_OPTIONS: Final = ConnectionOptions(first_connect_s=4.0)
_SHOWN: Final = 3
_TOO_MANY: Final = "connections exceeded"  # of the server, or of the account
_OF_TIME: Final = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED

Open = contextlib.AsyncExitStack | contextlib.ExitStack


class Ear:
    """What the tap hears at one server: what has the probe's ``token`` in it, and what has not."""

    def __init__(self, token: str) -> None:
        self._token = token
        self.heard: set[str] = set()
        self.strangers: dict[str, None] = {}

    def on_message(self, subject: str, reply: str, payload: bytes) -> None:
        if subject.endswith(self._token):
            self.heard.add(subject)
        else:
            self.strangers[subject.split(".")[1]] = None

    def on_no_responders(self, subject: str) -> None:
        """The tap asks nobody anything."""

    def on_disconnected(self) -> None:
        """What is missing then is told."""

    def on_reconnected(self) -> None:
        """Subscribed again."""


class Probing:
    """``all`` before a lab starts, ``one`` for a node that comes later."""

    def __init__(self, lab: str, bus: BusPlan, identities: Identities) -> None:
        self._lab, self._bus, self._identities = lab, bus, identities
        self.secured: ForeignServersTls | None = (
            None  # how they are reached, once ``all`` has looked
        )
        self._token = f"probe{os.urandom(6).hex()}"
        self._ears: dict[str, Ear] = {}
        self.there: list[str] = []  # the addresses that answered
        self._count = 1  # of nodes that were tried together

    async def all(self, nodes: Sequence[NodeName]) -> list[str]:
        """What is not as it should be and no reason not to start. ``KeysteadError``: KS-BROKER-004
        nobody answers, 005 TLS, 006 too old or too small, 007 our keys are not known, 008 more or
        less is permitted than should be, 009 they are not one bus of this lab alone, 010 they take
        fewer connections than the lab has, 011 a certificate is not valid at this time."""
        self.secured = await self._read_authority()
        self._count = len(nodes)
        self.there, away = await self._greet_servers()
        begun = asyncio.get_running_loop().time()
        async with contextlib.AsyncExitStack() as stack:
            for url in self.there:
                tap = await self._login(url, TAP, ("l.>", "e.>"))
                stack.callback(tap.abort)
            await self._tap_is_silent(tap)
            # All stay until all have come: so many connections the lab has.
            found = await for_each(nodes, lambda n: self._try_node(n, stack), at_once=AT_ONCE)
            unknown = [node for node in found if node]
            if unknown:
                self._unknown(unknown)
            await self._check_heard(nodes)
            await asyncio.sleep(begun + LISTEN_S - asyncio.get_running_loop().time())
            self._alone()
        self._ears.clear()
        return [f"{text}; the others do" for text in away]

    async def one(self, node: NodeName) -> None:
        """KS-BROKER-007 or 008 for a node that may not do what it must, or may do more; 010 when
        there is no room for it."""
        with contextlib.ExitStack() as stack:
            if await self._try_node(node, stack):
                self._unknown([node])

    # ---- greetings ----------------------------------------------------------------------------

    async def _read_authority(self) -> ForeignServersTls | None:
        """The authority of the Lab file, read once; None for servers without TLS."""
        if not self._bus.urls[0].startswith("tls:"):
            return None
        path = self._bus.authority
        try:
            secured = ForeignServersTls((await read_soon(path)).decode() if path else "")
            _ = secured.options
        except KeysteadError as error:
            raise KeysteadError("KS-BROKER-005", str(error)) from None
        except (ssl.SSLError, UnicodeDecodeError):
            text = f"{path}: no certificate in PEM is in it"
            raise KeysteadError("KS-BROKER-005", text) from None
        return secured

    async def _greet_servers(self) -> tuple[list[str], list[str]]:
        there, away = [], []
        for url in self._bus.urls:
            try:
                told = await fetch_greeting(url)
            except NoServer as error:
                away.append(str(error))
            else:
                self._fits(url, told)
                there.append(url)
        if not there:
            raise KeysteadError("KS-BROKER-004", "; ".join(away))
        return there, away

    def _fits(self, url: str, told: dict[str, Any]) -> None:
        version = str(told.get("version", ""))
        numbers = [int(part) for part in version.split("-")[0].split(".") if part.isdecimal()]
        if tuple(numbers[:2]) < MINIMUM:
            text = f"{url} is nats-server {version or 'of no version'}, older than 2.10"
            raise KeysteadError("KS-BROKER-006", text)
        if int(told.get("max_payload", 0)) < SIZE_LIMIT:
            text = f"{url} takes messages of {told.get('max_payload')} bytes at most (max_payload)"
            raise KeysteadError("KS-BROKER-006", f"{text}, and {SIZE_LIMIT} are needed")
        if told.get("tls_required") and self.secured is None:
            raise KeysteadError("KS-BROKER-005", f"{url} takes TLS only: its address is tls://")
        if self.secured is not None and not told.get("tls_required"):
            raise KeysteadError("KS-BROKER-005", f"{url} does not require TLS")
        if not told.get("nonce"):
            raise KeysteadError("KS-BROKER-007", f"{url} knows no nkeys: anybody may log in there")

    # ---- logging in ---------------------------------------------------------------------------

    async def _login(self, url: str, name: str, subjects: tuple[str, ...]) -> BrokerConnection:
        seed = self._identities.control(name).seed
        made = self._connection(url, name, seed, subjects)
        self._ears[url] = Ear(self._token)
        try:
            await made.open(self._ears[url])
        except NotSent as error:
            if made.refusal is not None:
                self._unknown([name], url)
            await self._not_reached(url, made, error)
        if made.violations:
            self._wrong(url, "the tap may not hear l.> and e.>")
        return made

    def _connection(
        self, url: str, name: str, seed: str, subjects: tuple[str, ...], probe: str = ""
    ) -> BrokerConnection:
        return BrokerConnection(
            url,
            seed,
            name=name,
            subjects=subjects,
            probe=probe,
            options=_OPTIONS,
            secured=self.secured,
        )

    async def _not_reached(self, url: str, made: BrokerConnection, why: Exception) -> NoReturn:
        error = made.crowded or made.last_error or why
        if isinstance(error, ssl.SSLError):
            reason = getattr(error, "verify_message", "") or error.reason
            if getattr(error, "verify_code", 0) in _OF_TIME:
                raise KeysteadError("KS-BROKER-011", f"{url}: {reason}")
            whose = self._bus.authority or "the authorities of this machine"
            raise KeysteadError("KS-BROKER-005", f"{url}: {reason} (by {whose})")
        for one in url.split(","):
            if _TOO_MANY in f"{error} {await find_rejection(one)}".lower():
                text = f"{one} takes no more connections: it has to take those of {self._size()}"
                raise KeysteadError("KS-BROKER-010", text)
        raise KeysteadError("KS-BROKER-004", f"{url} lets nobody in: {error}")

    def _size(self) -> str:
        """What has connections to the servers, in words."""
        nodes = "1 node" if self._count == 1 else f"{self._count} nodes"
        return f"{nodes} of the lab {self._lab}, and one more that watches"

    # ---- trying -------------------------------------------------------------------------------

    async def _tap_is_silent(self, tap: BrokerConnection) -> None:
        tap.send(f"l.{NOBODY}.{NOBODY}.q.{self._token}", b"")
        if not await _comes(lambda: tap.violations > 0):
            self._wrong(tap.url, "the tap may speak")

    async def _try_node(self, node: NodeName, stack: Open) -> str:
        """The node's name when its key is not known; KS-BROKER-008 for permissions; else empty.
        Its connection stays until ``stack`` is left."""
        seed = self._identities.node(node).seed
        probe = f"{reply_prefix(node, node)}{self._token}"
        url = ",".join(self._ears) or ",".join(self._bus.urls)
        made = self._connection(url, node, seed, (own_subscription(node),), probe)
        stack.callback(made.abort)
        try:
            await made.open(Ear(self._token))
        except NotSent as error:
            if made.violations:
                self._wrong(
                    url, f"{node} may not hear {own_subscription(node)}, or not say l.{node}.>"
                )
            if made.refusal is not None:
                return str(node)
            await self._not_reached(url, made, error)
        made.send(f"e.{node}.{self._token}", b"")
        with contextlib.suppress(NotSent):  # of a link that is lost meanwhile, others tell
            await made.echo()
        if made.violations:
            self._wrong(url, f"{node} may not tell e.{node}.>")
        for what, forbidden in (
            ("speak as others do", f"l.{NOBODY}.{node}.q.{self._token}"),
            ("tell as others do", f"e.{NOBODY}.{self._token}"),
        ):
            before = made.violations
            made.send(forbidden, b"")
            if not await _comes(lambda b=before: made.violations > b):
                self._wrong(url, f"{node} may {what}")
        before = made.violations
        await made.subscribe(f"l.*.{NOBODY}.>")
        if not await _comes(lambda: made.violations > before):
            self._wrong(url, f"{node} may hear what is for others")
        return ""

    async def _check_heard(self, nodes: Sequence[NodeName]) -> None:
        """Each server's tap has heard each node, at whichever server that was."""
        told = {node: f"e.{node}.{self._token}" for node in nodes}
        said = {node: f"{reply_prefix(node, node)}{self._token}" for node in nodes}
        wanted = {*told.values(), *said.values()}
        for url, ear in self._ears.items():
            if not await _comes(lambda e=ear: e.heard >= wanted):
                heard = {subject for one in self._ears.values() for subject in one.heard}
                for node in nodes:
                    if said[node] in heard and told[node] not in heard:
                        self._wrong(url, f"{node} may not tell e.{node}.>")
                missing = [n for n in nodes if not {told[n], said[n]} <= ear.heard]
                text = f"{url} does not get what {_some(missing)} said at another server"
                raise KeysteadError("KS-BROKER-009", text)

    def _alone(self) -> None:
        strangers = dict.fromkeys(s for ear in self._ears.values() for s in ear.strangers)
        if strangers:
            text = f"somebody speaks in the account of this lab already: {_some([*strangers])}"
            raise KeysteadError("KS-BROKER-009", text)

    # ---- what is told -------------------------------------------------------------------------

    def _unknown(self, names: Sequence[str], url: str = "") -> NoReturn:
        where = url or ",".join(self._bus.urls)
        text = f"{where} does not know {_some(names)} of the lab {self._lab}"
        raise KeysteadError("KS-BROKER-007", text, self._fix())

    def _wrong(self, url: str, what: str) -> NoReturn:
        raise KeysteadError("KS-BROKER-008", f"at {url} {what}", self._fix())

    def _fix(self) -> str:
        more = "" if self._lab == "default" else f" -n {self._lab}"
        return f"`keystead lab broker-config{more}` prints what its administrator has to load"


def _some(names: Sequence[str]) -> str:
    shown = list(dict.fromkeys(names))
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more


async def _comes(seen: Any) -> bool:
    """Whether it becomes true within ``PATIENCE_S``."""
    limit = asyncio.get_running_loop().time() + PATIENCE_S
    while not seen():
        if asyncio.get_running_loop().time() > limit:
            return False
        await asyncio.sleep(0.005)
    return True


EVERY_S: Final = 3.0  # real seconds between two looks
LOOKS: Final = 2  # without a link, in a row, until it is asked why


@dataclass
class _Seen:
    losses: int
    returns: int
    refused: int
    away: int = 0  # looks at which its link was lost and not back
    returns_before: int = 0  # when it was lost


class Absent:
    """``look`` tells ``notice`` of each node that has lost its link and is not let in again, once,
    with why by ``tried`` (KS-BROKER-007 or 008), and of each whose messages are refused."""

    def __init__(
        self, tried: Callable[[NodeName], Awaitable[None]], notice: Callable[[str], None]
    ) -> None:
        self._tried, self._notice = tried, notice
        self._seen: dict[NodeName, _Seen] = {}

    async def look(self, statuses: Mapping[NodeName, NodeStatus]) -> None:
        """At all nodes that can be asked now, with what they have counted."""
        for node, status in statuses.items():
            losses, returns, refused = (
                status.counters.get(name, 0) for name in ("disconnects", "reconnects", "violations")
            )
            seen = self._seen.setdefault(node, _Seen(losses, returns, refused))
            if refused > seen.refused:
                self._notice(
                    f"the servers of the bus refuse what {node} says or hears: its permissions "
                    "there are not those of `keystead lab broker-config`"
                )
            if losses > seen.losses:
                seen.away, seen.returns_before = 0, seen.returns
            if returns > seen.returns_before or status.state is not NodeRunState.RUNNING:
                seen.away = 0
            elif losses > seen.losses or seen.away:
                seen.away += 1
            seen.losses, seen.returns, seen.refused = losses, returns, refused
            if seen.away == LOOKS:
                await self._ask(node)

    async def _ask(self, node: NodeName) -> None:
        try:
            await self._tried(node)
        except KeysteadError as error:
            self._notice(f"{node} has no link to the bus any more: {error}; {error.fix}")
        except ProductError:
            return  # it is asked again when it loses its link again


def ensure_keys(lab: str, nodes: Iterable[NodeName] = ()) -> Identities:
    """The nkeys of the lab of this name on servers of others, made where they are missing."""
    folder = state_home() / "bus" / lab
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Identities.create(folder, nodes)


class ForeignServers(DataBus):
    """What ``BusServers`` is for servers of the lab's own; none of these can be ended or started.

    ``start`` tries by doing whether each node may do there what it has to and nothing else. From
    then on an idle connection to each tells whether it answers: ``notice`` hears of each change.
    """

    def __init__(
        self,
        topology: Topology,
        identities: Identities,
        kept: Identities,
        notice: Callable[[str], None],
    ) -> None:
        bus = topology.bus
        self._url = ",".join(bus.urls)
        self.all: Sequence[Broker] = ()
        self.kept_off: Mapping[NodeName, str] = {}
        self._notice = notice
        self._nodes = tuple(spec.node for spec in topology.nodes)
        self._identities, self._kept = identities, kept
        self._probing = Probing(topology.name, bus, identities)
        self._watches: list[BrokerConnection] = []

    @property
    def url(self) -> str:
        return self._url

    @property
    def secured(self) -> ForeignServersTls | None:
        return self._probing.secured

    @property
    def answers(self) -> bool:
        return any(watch.up for watch in self._watches)

    def as_wanted(self, number: int) -> bool:
        """There is none that could be started."""
        return True

    async def start(self) -> None:
        """Try them. ``KeysteadError`` KS-BROKER-004 to 009 when they will not do."""
        for text in await self._probing.all(self._nodes):
            self._notice(text)
        seed = self._identities.control(TAP).seed
        for url in self._probing.there:
            watch = BrokerConnection(url, seed, name="keystead", subjects=(), secured=self.secured)
            self._watches.append(watch)
            await watch.open(_Told(self._notice, url))

    async def admit(self, *nodes: NodeName) -> None:
        """Nodes that have come to the lab: KS-BROKER-007 when its administrator was not told."""
        for node in nodes:
            self._kept.add(node)
            self._identities.adopt(self._kept, [node])
            await self._probing.one(node)

    async def watch(self, statuses: Statuses) -> None:
        absent = Absent(self._probing.one, self._notice)
        while True:
            await asyncio.sleep(EVERY_S)
            with contextlib.suppress(ProductError):
                await absent.look(await statuses())

    async def stop(self) -> None:
        """Leave."""
        for watch in self._watches:
            await watch.close()
        self._watches.clear()

    def abort(self) -> None:
        """Leave at once."""
        for watch in self._watches:
            watch.abort()
        self._watches.clear()

    async def kill(self) -> None:
        _refuse()

    async def up(self, number: int) -> bool:
        _refuse()

    async def stop_one(self, number: int) -> None:
        _refuse()

    async def start_one(self, number: int) -> None:
        _refuse()

    async def clients(self, number: int) -> frozenset[str]:
        _refuse()

    async def cut_route(self, one: int, other: int) -> None:
        _refuse()

    async def mend_route(self, one: int, other: int) -> None:
        _refuse()

    async def routed(self, one: int, other: int) -> bool:
        _refuse()


def _refuse() -> NoReturn:
    raise NotAvailable("the servers of the bus are run by somebody else")


class _Told:
    """Hears of the link of the idle connection to one server."""

    def __init__(self, notice: Callable[[str], None], url: str) -> None:
        self._notice, self._url = notice, url

    def on_message(self, subject: str, reply: str, payload: bytes) -> None:
        """It has no subscriptions."""

    def on_no_responders(self, subject: str) -> None:
        """It asks nobody anything."""

    def on_disconnected(self) -> None:
        self._notice(f"{self._url} of the bus is lost; who was at it looks for another server")

    def on_reconnected(self) -> None:
        self._notice(f"{self._url} of the bus answers again")


def broker_config(topology: Topology) -> str:
    """The text of the file; the lab's nkeys are made when it has none yet."""
    kept = ensure_keys(topology.name, [spec.node for spec in topology.nodes])
    name = topology.bus.account or f"KEYSTEAD-{topology.name}"
    users = (tap_user(kept.control(TAP).public), *(node_user(*n) for n in kept.node_nkeys()))
    file = f"keystead-{topology.name}.conf"
    head = (
        f"nats-server configuration for the lab {topology.name} of keystead: one account, "
        f"{len(users)} users.",
        "It has public keys only. Every server of the bus (2.10 or newer) needs it:",
        "",
        f"  1. save it as {file} beside the server's configuration",
        f'  2. there, within accounts {{ }}, beside what is there:   include "{file}"',
        "  3. nats-server --signal reload",
        "",
        f"max_payload is at least {SIZE_LIMIT} (a server's default is more). Servers of a cluster",
        "have routes to each other. Nobody else belongs into this account, and no other lab.",
        "No stream and no file is needed. When the lab is given up, take the include away, reload.",
    )
    return "".join(f"# {line}".rstrip() + "\n" for line in head) + account(name, users)
