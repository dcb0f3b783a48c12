"""Configuration of the two brokers, as text: who may publish and subscribe what; and what an agent
process is given when it starts. No I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import msgspec

from lab.brokers.identities import CLI, SUPERVISOR, TAP
from protocol.codec import SIZE_LIMIT
from protocol.subjects import own_subscription
from protocol.terms import NodeName
from services.runtime.real.broker_tls import BrokerTls, ForeignServersTls, LabTls

CONTROL_SIZE_LIMIT = 4 * 1024 * 1024  # bytes of one message on the control broker
SYSTEM_INBOX = "keystead.system"  # answers of a server to its system account come below it
_LOG_BYTES = 1024 * 1024


def may_ask(sender: str, to: str) -> bool:
    """Whether ``sender`` may send requests to ``to`` on the control broker."""
    return (sender, to) == (CLI, SUPERVISOR) or (sender == SUPERVISOR and to not in (CLI, TAP))


class BrokerKind(StrEnum):
    """Which of a lab's two brokers."""

    DATA = "data"  # may be killed, paused, restarted
    CONTROL = "control"  # own process, never a target


@dataclass(frozen=True)
class BrokerUser:
    """One NKEY user and the subjects it may use."""

    nkey: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


@dataclass(frozen=True)
class Routes:
    """How one server of a cluster on this machine and the others find each other: by ports, of
    which -1 lets it choose its own, and a ``secret`` that lasts as long as their owner. ``others``
    are all that it may reach: those between which a route is cut do not name each other."""

    secret: str = field(repr=False)
    port: int = -1
    others: tuple[int, ...] = ()


@dataclass(frozen=True)
class BrokerPlace:
    """Where a broker listens and writes. ``port`` -1 lets it choose."""

    folder: Path
    server_name: str
    port: int = -1
    routes: Routes | None = None

    @property
    def config(self) -> Path:
        return self.folder / "broker.conf"

    @property
    def log(self) -> Path:
        return self.folder / "broker.log"


def node_user(name: NodeName, nkey: str) -> BrokerUser:
    return BrokerUser(nkey, (f"l.{name}.>", f"e.{name}.>"), (own_subscription(name),))


def tap_user(nkey: str) -> BrokerUser:
    return BrokerUser(nkey, (), ("l.>", "e.>"))


def control_user(name: str, nkey: str) -> BrokerUser:
    """The supervisor may do everything; the CLI asks and listens; an agent serves and tells.

    An agent asks nobody anything: with the identity of one process of a lab, its other processes
    cannot be commanded.
    """
    probe = f"ctl.probe.{name}.>"
    inbox = f"ctl.inbox.{name}.>"
    if name == SUPERVISOR:
        return BrokerUser(nkey, ("ctl.>",), ("ctl.>",))
    if name == CLI:
        asks = f"ctl.supervisor.{name}.>"
        return BrokerUser(nkey, (asks, probe), (inbox, "ctl.event.>", probe))
    if name == TAP:
        raise ValueError("the tap belongs to the data broker")
    return BrokerUser(
        nkey,
        (f"ctl.event.{name}.>", f"ctl.inbox.{SUPERVISOR}.{name}.>", probe),
        (f"ctl.agent.{name}.>", probe),
    )


def system_user(nkey: str) -> BrokerUser:
    """Asks a server what it knows of itself, its clients and its routes, and changes nothing."""
    questions = tuple(f"$SYS.REQ.SERVER.*.{what}" for what in ("CONNZ", "ROUTEZ"))
    return BrokerUser(nkey, questions, (f"{SYSTEM_INBOX}.*",))


def render(
    kind: BrokerKind,
    place: BrokerPlace,
    users: tuple[BrokerUser, ...],
    system: tuple[BrokerUser, ...] = (),
) -> str:
    """The whole file; ``system`` are users of the server's system account. Spaces, quotes and
    newlines are kept: the parser trips over their lack."""
    match kind:
        case BrokerKind.DATA:
            # A node that is flooded must outlast the time until the sender is kept off the bus.
            limits = _limits(SIZE_LIMIT, "64MB", "5s", "1s", 3)
        case BrokerKind.CONTROL:
            # Nothing is faulted here, so a slow machine must not look like a lost link.
            limits = _limits(CONTROL_SIZE_LIMIT, "64MB", "10s", "5s", 6)
    return (
        f'server_name: "{place.server_name}"\n'
        'host: "127.0.0.1"\n'
        f"port: {place.port}\n"
        f"ports_file_dir: {_quote(str(place.folder))}\n"
        f"log_file: {_quote(str(place.log))}\n"
        f"logfile_size_limit: {_LOG_BYTES}\n"
        "logfile_max_num: 2\n"
        f"{limits}"
        f"{'' if place.routes is None else _cluster(place.routes)}"
        f"accounts {{\n{account('LAB', users)}{account('SYS', system)}}}\n"
        "system_account: SYS\n"
    )


def _quote(path: str) -> str:
    """A path as a string of the configuration, whatever is in its name: a quote would end it."""
    text = ""
    for byte in path.encode("utf-8", "surrogateescape"):
        character = chr(byte)
        plain = character.isascii() and character.isprintable() and character not in '"\\'
        text += character if plain else f"\\x{byte:02x}"
    return f'"{text}"'


def account(name: str, users: tuple[BrokerUser, ...]) -> str:
    """An account with its users, as it stands within ``accounts { }``."""
    if not users:
        return f"  {name}: {{ }}\n"
    entries = "\n".join(_user(user) for user in users)
    return f"  {name}: {{\n    users: [\n{entries}\n    ]\n  }}\n"


def _cluster(routes: Routes) -> str:
    """Who has no secret is no server of it. Clients are told of no other server: they have all
    addresses.

    Servers tell each other of servers, and would go around a route that is cut: what is told here
    is an address where nobody is."""
    login = f"keystead:{routes.secret}"
    others = ", ".join(f'"nats-route://{login}@127.0.0.1:{port}"' for port in routes.others)
    return (
        "cluster {\n"
        '  name: "keystead"\n'
        '  host: "127.0.0.1"\n'
        f"  port: {routes.port}\n"
        "  no_advertise: true\n"
        '  advertise: "127.0.0.1:9"\n'
        f'  authorization {{ user: "keystead", password: "{routes.secret}", timeout: 5 }}\n'
        f"  routes: [ {others} ]\n"
        "}\n"
    )


def _limits(payload: int, pending: str, deadline: str, ping: str, pings: int) -> str:
    return (
        f"max_payload: {payload}\n"
        f"max_pending: {pending}\n"
        f'write_deadline: "{deadline}"\n'
        f'ping_interval: "{ping}"\n'
        f"ping_max: {pings}\n"
    )


def _user(user: BrokerUser) -> str:
    return (
        f'      {{ nkey: "{user.nkey}", permissions: {{\n'
        f"        publish: {_list(user.publish)},\n"
        f"        subscribe: {_list(user.subscribe)}\n"
        "      } }"
    )


def _list(subjects: tuple[str, ...]) -> str:
    """An empty list of allowed subjects would allow all, so nothing is said as *deny all*."""
    if not subjects:
        return '{ deny: [ ">" ] }'
    quoted = ", ".join(f'"{subject}"' for subject in subjects)
    return f"{{ allow: [ {quoted} ] }}"


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor tells an agent process; ``patch`` names a module that is imported
    before any node is built (planted bugs of tests), ``ledger`` the collector that is told each key
    (``lab.scan``); both are empty in normal use. On another machine than the supervisor's
    ``authority`` is the file of the lab's certificate authority, and ``offset`` that of the offset
    to the clock that ``epoch`` is of (``SharedOffset``). ``theirs``: the data bus is on servers of
    somebody else, which are reached from everywhere alike, and by ``tls`` where they take it."""

    name: str
    folder: str
    control_url: str
    data_url: str
    epoch: float
    wall: float
    pace: float
    seed: int
    patch: str = ""
    ledger: str = ""
    theirs: bool = False
    tls: ForeignServersTls | None = None
    authority: str = ""
    offset: str = ""

    def way_to(self, broker: BrokerKind) -> BrokerTls | None:
        """How that broker is reached; None for one without TLS."""
        if broker is BrokerKind.DATA and self.theirs:
            return self.tls
        return LabTls(self.authority, broker.value) if self.authority else None
