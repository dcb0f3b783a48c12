"""What the fork server of simulations does once so that no run has to: imports, and first uses.

msgspec works out the types of a message when it is first asked for them, which would be in every
run anew.
"""

from __future__ import annotations

import msgspec

import lab.play.play
import lab.simulation.worker  # noqa: F401 - what its children run
from chaos.faults import FAULTS
from chaos.oracle.fold.settings import FoldSettings
from protocol.codec import decoder_of
from protocol.messages.base import fields_with_keys, registry
from services.runtime.sim import trace


def simulations() -> None:
    """Load and warm what every simulation uses."""
    for made in (*FAULTS, FoldSettings):
        msgspec.msgpack.Decoder(made)
    for name, message in registry().items():
        decoder_of(message)
        fields_with_keys(message)
        trace.has_no_bytes(name)
