"""Merging broken: of two states of a key the one that comes last is taken, upwards or not."""

from __future__ import annotations

from services.kms import states
from tests.mutations.bugs.planting import plant

plant(states, "join_states", lambda original: lambda mine, theirs: theirs)
