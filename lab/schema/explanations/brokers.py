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
        "nats-server ended at once, or another program uses its port.",
        "read the broker's log named in the message; free the port, then `keystead up`",
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
        "None of the addresses of `bus:` in the Lab file leads to a nats-server that accepts it.",
        "check that the servers run and that the addresses are right, then `keystead up`",
        1,
    ),
    "KS-BROKER-005": (
        "TLS to the servers of the bus fails",
        "The authority that the Lab file names did not issue their certificates, or only one side "
        "uses TLS.",
        "write `bus: {url: tls://HOST:PORT, authority: /path/ca.pem}` in the Lab file, or nats://",
        1,
    ),
    "KS-BROKER-006": (
        "The servers of the bus cannot be used",
        "They are older than 2.10, or refuse messages as large as nodes send.",
        "ask their administrator for a newer version, or for a larger max_payload",
        1,
    ),
    "KS-BROKER-007": (
        "The servers of the bus do not know the lab",
        "The administrator has loaded no accounts and keys of this lab, or older ones.",
        "load what `keystead lab broker-config` prints, then try again",
        1,
    ),
    "KS-BROKER-008": (
        "The permissions at the bus differ from those of the lab",
        "A node may do less than it needs, or more than it should: it could pose as another node.",
        "load what `keystead lab broker-config` prints, then try again",
        1,
    ),
    "KS-BROKER-009": (
        "The servers are not one bus for this lab alone",
        "Messages at one of them do not reach the others, or another lab uses them.",
        "add routes between the servers; give each lab its own name and account",
        1,
    ),
    "KS-BROKER-010": (
        "The servers of the bus take too few connections",
        "Each node of the lab has one connection, the lab has one more at each server, and the"
        " connections of a lost server move to the others.",
        "ask their administrator for a larger max_connections, of the server or of the account",
        1,
    ),
    "KS-BROKER-011": (
        "A certificate of the servers of the bus is not valid now",
        "It has expired or is not yet valid, by the clock of the machine that checked it.",
        "ask their administrator for a new certificate; check the clock of that machine",
        1,
    ),
    "KS-BROKER-012": (
        "A node floods the bus",
        "It sent more than a node may: 5,000 messages or 16 MiB a second for a host, 20,000 or 64 "
        "MiB for any other node, and two seconds of that at once. The broker has closed its "
        "connections and refuses its identity for 60 s; then it may connect again.",
        "find out what the node in the message runs; `keystead describe host` shows whether it is "
        "still refused, docs/listeners.md describes the effect on others",
        1,
    ),
}
