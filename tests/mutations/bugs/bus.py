"""Bugs of the bus: links, identities, deadlines, repeats and shares."""

from __future__ import annotations

import math
from typing import Any

import msgspec

import lab.brokers.control_plane as control_plane
from protocol import pages
from protocol.subjects import event_subject, reply_subject, request_subject
from protocol.terms import NodeName
from services.kms.commit import store
from services.runtime import bus, knobs, multiplexer
from services.runtime.bus import BusPort
from services.runtime.link_rules import RuleTable
from services.runtime.multiplexer import PendingCalls
from services.runtime.node import AT_ONCE, NodeRunner, RequestAdmission
from services.runtime.sim.bus import SimBroker
from tests.mutations.bugs.planting import plant, replaces


def asker_unjudged() -> None:
    """The control plane broken: whoever the broker lets through may ask anything."""

    @replaces(control_plane, "may_ask")
    def may_ask(original: Any, sender: str, to: str) -> bool:
        return True


def creates_made_twice() -> None:
    """Repeats broken on both sides: what arrives twice runs twice, and Create makes a key each
    time."""

    _ONCE = ",\n        UNIQUE (scope, operation_id, origin)"
    plant(BusPort, "_first_time", lambda original: lambda self, envelope: True)
    plant(store, "find_created", lambda original: lambda *args: None)
    plant(store, "SCHEMA", lambda schema: tuple(line.replace(_ONCE, "") for line in schema))


def duplicates_run_twice() -> None:
    """Repeats broken: a request that arrives twice runs twice."""

    plant(BusPort, "_first_time", lambda original: lambda self, envelope: True)


def egress_ignored() -> None:
    """Link rules broken: a sender does not ask them."""

    from services.runtime.link_rules import AT_ONCE

    plant(RuleTable, "egress", lambda original: lambda *asked: AT_ONCE)


def first_rule_decides() -> None:
    """Link rules broken: the first rule that has an opinion decides, and the rest are not asked."""

    def _first(original: Any) -> Any:
        return lambda self, link: original(self, link)[:1]

    plant(RuleTable, "_alive", _first)


def flood_takes_all() -> None:
    """Shares broken: requests of all peers are counted together, so that one fills the node."""

    plant(
        RequestAdmission, "has_room", lambda original: lambda self, peer: self._from_bus < AT_ONCE
    )


def forged_reply_accepted() -> None:
    """Identity broken: a reply is believed from whoever sends it."""

    @replaces(PendingCalls, "handle_reply")
    def arrived(original: Any, self: Any, token: str, responder: Any, payload: bytes) -> bool:
        return bool(original(self, token, self.asked(token) or responder, payload))


def forged_reply_subject() -> None:
    """Identity broken: a request may name anybody's subject for its reply."""

    plant(bus, "reply_prefix", lambda original: lambda me, peer: "")


def ingress_ignored() -> None:
    """Link rules broken: a receiver lets in what comes over a link that is cut."""

    plant(RuleTable, "passes", lambda original: lambda self, link: True)


def knob_range_unchecked() -> None:
    """Knobs broken: a number of the right type is taken, whatever its range."""

    @replaces(knobs, "_convert_value")
    def converted(original: Any, kind: Any, name: str, value: object) -> Any:
        if type(value) in (int, float):
            return value
        return original(kind, name, value)


def late_requests_run() -> None:
    """Deadlines broken: a request that comes after its deadline is carried out."""

    @replaces(multiplexer, "decode_envelope")
    def decode(original: Any, payload: bytes) -> Any:
        return msgspec.structs.replace(original(payload), deadline=math.inf)


def old_rules_accepted() -> None:
    """Rules broken: an agent takes a set of rules of any epoch, also a late one."""

    @replaces(RuleTable, "apply")
    def apply(original: Any, self: Any, desired: Any) -> bool:
        self.epoch = -1
        return bool(original(self, desired))


def pages_by_count() -> None:
    """Pages broken: a list is cut by how many entries it has, whatever they weigh."""

    plant(pages, "size_on_wire", lambda original: lambda value: 1)


def permissions_ignored() -> None:
    """The simulation's broker broken: it lets everybody publish everything."""

    from services.runtime.sim import bus

    plant(bus, "may_publish", lambda original: lambda node, subject: True)


def speaks_as_another() -> None:
    """Identity broken: a host also says what it says to vCenter under another host's name."""

    @replaces(BusPort, "request")
    async def request(
        original: Any, self: Any, to: NodeName, message: Any, *, within_s: float
    ) -> Any:
        if self.me.startswith("esxi-"):
            other = NodeName("esxi-002" if self.me != "esxi-002" else "esxi-001")
            name = type(message).__name__
            self._wire.send(
                request_subject(other, to, name), b"\x90", reply_subject(to, other, "1-1")
            )
            self._wire.send(event_subject(other, name), b"\x90")
        return await original(self, to, message, within_s=within_s)


def turn_after_deadline() -> None:
    """Serving broken: a request that came to its turn after its deadline is carried out."""

    @replaces(NodeRunner, "_run_handler")
    async def served(original: Any, self: NodeRunner, served: Any, incoming: Any, name: str) -> Any:
        return await original(self, served, msgspec.structs.replace(incoming, deadline=0.0), name)


def waits_for_its_server() -> None:
    """A bus of several servers, broken: a client whose server is lost dials that one alone."""

    @replaces(SimBroker, "dial")
    def dial(original: Any, self: Any, wire: Any) -> None:
        if wire.server in self.servers.up:
            original(self, wire)
        else:
            self._waiting[wire] = None
