"""Whether servers that somebody else runs will do for a lab: tried by doing, before a node starts.

First their greetings: that they answer, their version, TLS. Then the tap logs in at each of them
and hears everything, while each node says to itself what it will say, hears it, and tries what it
must not be allowed. Which of it fails says what the administrator has to change.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from lab.brokers.identities import TAP, Identities
from lab.brokers.looks import NoServer, fetch_greeting, find_rejection
from lab.brokers.program import MINIMUM
from lab.schema.errors import KeysteadError
from lab.topology.plan import BusPlan
from lab.topology.secret_files import read_soon
from protocol.envelope import SIZE_LIMIT
from protocol.errors import NotSent
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
