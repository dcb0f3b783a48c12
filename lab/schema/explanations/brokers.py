"""Errors of brokers: title, why, fix, exit code."""

from __future__ import annotations

import os
from typing import Final

EXPLANATIONS: Final[dict[str, tuple[str, str, str, int]]] = {
    "KS-BROKER-001": (
        "nats-server is missing or too old",
        "Neither PATH nor the environment's wheel has a nats-server of at least 2.10.",
        "run `./keystead setup`, or set KEYSTEAD_NATS_SERVER to a newer one",
        os.EX_CONFIG,
    ),
    "KS-BROKER-002": (
        "The broker did not start",
        "nats-server ended at once, or its port is taken by another program.",
        "read the broker's log named in the message; stop what holds the port, then `keystead up`",
        1,
    ),
    "KS-BROKER-003": (
        "The broker refused its new configuration",
        "A host was added, and nats-server kept the old list of users.",
        "read the broker's log named in the message; `keystead down`, then `keystead up`",
        1,
    ),
    "KS-BROKER-004": (
        "The servers of the bus do not answer",
        "None of the addresses of `bus:` in the Lab file leads to a nats-server that lets us in.",
        "see that the servers run and that the addresses are right, then `keystead up`",
        1,
    ),
    "KS-BROKER-005": (
        "TLS to the servers of the bus fails",
        "Their certificates are not of the authority that the Lab file names, or not both sides "
        "want TLS.",
        "`bus: {url: tls://HOST:PORT, authority: /path/ca.pem}` in the Lab file, or nats://",
        1,
    ),
    "KS-BROKER-006": (
        "The servers of the bus will not do",
        "They are older than 2.10, or take smaller messages than nodes send.",
        "ask their administrator for a newer version, or for a larger max_payload",
        1,
    ),
    "KS-BROKER-007": (
        "The servers of the bus do not know the lab",
        "The administrator has not loaded the accounts and keys of this lab, or older ones.",
        "`keystead lab broker-config` prints what has to be loaded; then again",
        1,
    ),
    "KS-BROKER-008": (
        "The permissions at the bus are not those of the lab",
        "A node may do less there than it must, or more than it should: it could speak as another.",
        "`keystead lab broker-config` prints what has to be loaded; then again",
        1,
    ),
    "KS-BROKER-009": (
        "The servers are not one bus of this lab alone",
        "What is said at one of them is not heard at the others, or another lab speaks there.",
        "ask for routes between the servers; give each lab a name and an account of its own",
        1,
    ),
    "KS-BROKER-010": (
        "The servers of the bus take too few connections",
        "Each node of the lab has a connection of its own, one more at each server watches it, and"
        " a server that is lost leaves its connections to the others.",
        "ask their administrator for a larger max_connections, of the server or of the account",
        1,
    ),
    "KS-BROKER-011": (
        "A certificate of the servers of the bus is not valid now",
        "It has expired, or is not valid yet, by the clock of the machine that looked at it.",
        "ask their administrator for a new certificate; see that the clock of that machine is"
        " right",
        1,
    ),
    "KS-BROKER-012": (
        "A node floods the bus",
        "It sent more than a node may: 5,000 messages or 16 MiB a second for a host, 20,000 or 64 "
        "MiB for any other node, and two seconds of that at once. The broker has closed its "
        "connections and refuses its identity for 60 s; then it may come back.",
        "find out what the node named in the message runs; `keystead describe host` says whether "
        "it is still kept off, docs/listeners.md what others feel of it",
        1,
    ),
}
