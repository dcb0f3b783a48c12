"""One thing that an experiment's file can name, as ``chaos.reference`` tells of it."""

from __future__ import annotations

import msgspec


class EntryField(msgspec.Struct, frozen=True, kw_only=True):
    """A field of an entry: which values it takes, in words with their unit.

    ``default`` is as a file has it; empty for none. ``required``: it cannot be left out.
    """

    name: str
    values: str
    default: str = ""
    required: bool = False


class DescribedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Its name, what it does, its fields, and an example in YAML."""

    name: str
    text: str
    example: str
    fields: tuple[EntryField, ...] = ()
