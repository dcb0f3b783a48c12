"""Errors of machines that join: title, why, fix, exit code."""

from __future__ import annotations

import os
from typing import Final

EXPLANATIONS: Final[dict[str, tuple[str, str, str, int]]] = {
    "KS-AGENT-001": (
        "The lab cannot listen there",
        "Something else has the port, or the address is none of this machine.",
        "give another address or port with `keystead up --listen`; port 0 is any that is free",
        1,
    ),
    "KS-AGENT-002": (
        "The bundle cannot be read",
        "The file is no bundle of keystead, or it was damaged or edited on its way.",
        "copy it again from where it was written, or write a new one: `keystead lab bundle`",
        4,
    ),
    "KS-AGENT-003": (
        "There is no bundle to be had",
        "The lab's file names no machine like this, or the lab has not begun to listen.",
        "name a machine of the file's `machines:`, while `keystead up` runs or has run",
        os.EX_USAGE,
    ),
    "KS-AGENT-004": (
        "The lab does not take this bundle",
        "A bundle is for one machine and for a time: it was used on another machine, is out of"
        " date, was edited, or a newer one has taken its place.",
        "write a new one where the lab runs: `keystead lab bundle MACHINE -o FILE`",
        1,
    ),
    "KS-AGENT-005": (
        "Another agent of this machine runs",
        "A machine has one agent, so that no node is alive twice.",
        "end the other one; an agent that was killed is forgotten when its lease is over",
        1,
    ),
    "KS-AGENT-006": (
        "The lab is not reached",
        "Nothing answers at the address of the bundle, or of the file of `keystead lab access`.",
        "see that `keystead up --listen` runs there, and that its port is open to this machine",
        os.EX_UNAVAILABLE,
    ),
    "KS-AGENT-007": (
        "Several machines are not available here",
        "A lab whose file has `machines:` needs a supervisor that machines can join.",
        "start it with `keystead up FILE`, or play it with `--mode sim`, all in one place",
        4,
    ),
    "KS-AGENT-008": (
        "The machine has gone",
        "Its agent ended, or was not heard for its lease.",
        "start it there again: `keystead agent join FILE`; `keystead get machines` shows all",
        1,
    ),
    "KS-AGENT-009": (
        "The folder belongs to another machine",
        "What a machine keeps of a lab was copied to another one, so that nodes could run twice.",
        "remove the copy, and join with a bundle that is written for this machine",
        1,
    ),
    "KS-AGENT-010": (
        "The clock of a machine was not known well enough",
        "Lab time there is an offset that is measured over the network, which was slow or lost"
        " beats, or the machine stood still. What was measured meanwhile counts neither way.",
        "see `keystead get machines -o wide`; repeat the run when the network is calmer",
        5,
    ),
    "KS-AGENT-011": (
        "Another lab answers at the address",
        "What answers at the address of the file is another lab, no lab at all, or this one made"
        " anew, which knows none of the keys of before.",
        "see which lab listens there (`keystead list`); write a new file where it runs: `keystead"
        " lab bundle`, or `keystead lab access`",
        1,
    ),
    "KS-AGENT-012": (
        "The machine cannot take connections for its nodes",
        "Something else has the port that the Lab file names for it, or the address is none of this"
        " machine.",
        "name another `address:` of the machine in the Lab file, or a port that is free there",
        1,
    ),
}
