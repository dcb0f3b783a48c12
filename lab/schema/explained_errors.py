"""Errors of shared datastores, brokers, loads and machines that join, in the form of
``lab.schema.errors``: title, why, fix, exit code.
"""

from __future__ import annotations

import os
from typing import Final

ARRAY_EXPLANATIONS: Final[dict[str, tuple[str, str, str, int]]] = {
    "KS-ARRAY-001": (
        "The folder of the datastore differs from that of other machines",
        "Machines whose clusters share a datastore must see the same folder. This machine has"
        " another one, an empty mount point, or sees the writes of others only later.",
        "mount the folder of the other machines there, or name the right one: `--arrays FOLDER`",
        1,
    ),
    "KS-ARRAY-002": (
        "Locks do not hold in the folder of the datastore",
        "A lock on a VM's files keeps two hosts from running it. This file system refuses a lock,"
        " or another process or machine does not see it.",
        "use a file system with POSIX locks between machines: NFS 4 without `nolock`, not a plain"
        " FUSE mount",
        1,
    ),
    "KS-ARRAY-003": (
        "The folder of the datastore cannot promise that a write is durable",
        "A host answers after its write is synced. On this file system a sync of a file or folder"
        " fails, or a replaced file is not whole.",
        "use a file system with fsync of files and folders, and an atomic rename",
        1,
    ),
    "KS-ARRAY-004": (
        "The folder of the datastore cannot be written",
        "It is missing, read-only or not a folder, or this user may not write to it.",
        "mount it so that the user of keystead can write to it",
        1,
    ),
    "KS-ARRAY-005": (
        "The folder of the datastore is full",
        "No file of one MiB can be written there.",
        "free space there, or raise the quota",
        1,
    ),
    "KS-ARRAY-006": (
        "The folder of the datastore has files of others",
        "It has the datastore of another lab or of a purged one, or files that no lab wrote.",
        "give this lab another folder, or remove the files if nobody needs them",
        1,
    ),
    "KS-ARRAY-007": (
        "The folder of the datastore does not answer",
        "A call to its file system did not return in time: its server may be down.",
        "check that the mounted server can be reached, then join again",
        1,
    ),
}


BROKER_EXPLANATIONS: Final[dict[str, tuple[str, str, str, int]]] = {
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


LOAD_EXPLANATIONS: Final[dict[str, tuple[str, str, str, int]]] = {
    "KS-LOAD-001": (
        "A threshold does not fit the load",
        "It names an operation that is not in the mix, or its form is not valid.",
        "name an operation of `--mix`, or all, and a limit with its unit, as in"
        " `--threshold 'get.p99 < 50ms'`",
        os.EX_USAGE,
    ),
    "KS-LOAD-002": (
        "The load could not start",
        "The server cannot be reached, refuses the client, or does not create its keys.",
        "`keystead kmip replay` with the same arguments says what is wrong, step by step",
        1,
    ),
    "KS-LOAD-003": (
        "The experiment offers no load",
        "Its file has no `load`, so there is nothing to measure.",
        "add `load: {rate: 2/s, for: 5m, mix: {power: 1}}`, or use `keystead chaos run`",
        os.EX_USAGE,
    ),
    "KS-LOAD-004": (
        "No such load is running",
        "No load was started, it has ended, or its process was killed.",
        "`keystead runs --newest` lists the stored loads; a load in virtual time needs its steps"
        " from the start, as in `--rate 100/s:1m,400/s:1m`",
        os.EX_UNAVAILABLE,
    ),
    "KS-LOAD-005": (
        "Several loads are running",
        "Each of them has its own rate.",
        "name the run: `keystead load rate 400/s RUN`",
        os.EX_USAGE,
    ),
    "KS-LOAD-006": (
        "A load in virtual time cannot be changed while it runs",
        "Its seed fixes all operations, so that it can be replayed.",
        "give it steps from the start, as in `--rate 1/s:1m,4/s:1m`",
        os.EX_USAGE,
    ),
    "KS-LOAD-007": (
        "The load cannot take that rate now",
        "It has not started, or would have more operations than one load may have.",
        "wait for its first progress line, or give a lower rate",
        1,
    ),
}


MACHINE_EXPLANATIONS: Final[dict[str, tuple[str, str, str, int]]] = {
    "KS-AGENT-001": (
        "The lab cannot listen there",
        "Another process uses the port, or this machine does not have the address.",
        "give another address or port with `keystead up --listen`; port 0 chooses a free port",
        1,
    ),
    "KS-AGENT-002": (
        "The bundle cannot be read",
        "The file is not a bundle of keystead, or it was damaged or edited.",
        "copy the original again, or write a new one: `keystead lab bundle`",
        4,
    ),
    "KS-AGENT-003": (
        "No bundle can be written",
        "The Lab file has no machine of that name, or the lab does not listen yet.",
        "name a machine of the file's `machines:`, while `keystead up` runs or has run",
        os.EX_USAGE,
    ),
    "KS-AGENT-004": (
        "The lab does not accept this bundle",
        "A bundle is for one machine and a limited time: it was used on another machine, has"
        " expired, was edited, or a newer one replaces it.",
        "write a new one where the lab runs: `keystead lab bundle MACHINE -o FILE`",
        1,
    ),
    "KS-AGENT-005": (
        "Another agent of this machine is running",
        "A machine has one agent, so that no node is alive twice.",
        "end the other agent; the lab forgets a killed agent when its lease has expired",
        1,
    ),
    "KS-AGENT-006": (
        "The lab cannot be reached",
        "Nothing answers at the address of the bundle, or of the file of `keystead lab access`.",
        "check that `keystead up --listen` runs there, and that this machine can reach its port",
        os.EX_UNAVAILABLE,
    ),
    "KS-AGENT-007": (
        "Several machines are not available here",
        "A lab whose file has `machines:` needs a supervisor that machines can join.",
        "start it with `keystead up FILE`, or play it on this machine with `--mode sim`",
        4,
    ),
    "KS-AGENT-008": (
        "The machine has gone",
        "Its agent ended, or sent nothing for the time of its lease.",
        "start it there again: `keystead agent join FILE`; `keystead get machines` shows all",
        1,
    ),
    "KS-AGENT-009": (
        "The folder belongs to another machine",
        "The folder of a machine was copied to another one, so that nodes could run twice.",
        "remove the copy, and join with a bundle for this machine",
        1,
    ),
    "KS-AGENT-010": (
        "The clock of a machine was not known well enough",
        "Lab time there is an offset that is measured over the network. The network was slow or"
        " lost beats, or the machine stood still. Measurements of that time do not count.",
        "see `keystead get machines -o wide`; repeat the run on a quieter network",
        5,
    ),
    "KS-AGENT-011": (
        "Another lab answers at the address",
        "At the address of the file answers another lab, no lab at all, or this lab created anew,"
        " which does not know the earlier keys.",
        "check which lab listens there (`keystead list`); write a new file where it runs: `keystead"
        " lab bundle`, or `keystead lab access`",
        1,
    ),
    "KS-AGENT-012": (
        "The machine cannot take connections for its nodes",
        "Another process uses the port that the Lab file names for it, or this machine does not"
        " have the address.",
        "name another `address:` of the machine in the Lab file, or a port that is free there",
        1,
    ),
}
