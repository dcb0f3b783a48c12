"""Errors of machines that join: title, why, fix, exit code."""

from __future__ import annotations

import os
from typing import Final

EXPLANATIONS: Final[dict[str, tuple[str, str, str, int]]] = {
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
