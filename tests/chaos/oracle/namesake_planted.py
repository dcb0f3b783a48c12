"""Bugs to plant into what the fold knows of providers of one name, each with the run that shows it:
a method, the place in its text, what stands there instead, and the run."""

from __future__ import annotations

from typing import Any

from chaos.oracle.fold.hosts import Derivation
from chaos.oracle.fold.listings import Listings, ProviderListing

PLANTED: tuple[tuple[Any, str, str, str], ...] = (
    (
        Listings._about,
        "len(self.of(name).ever)",
        "0",
        "namesake: neither host nor VM has its key after the boot",
    ),
    (
        Listings.operation,
        'begun.kdks if record.type == "ok" else begun.before',
        "begun.kdks",
        "namesake: the deletion was refused, and nothing has changed",
    ),
    (
        Listings.operation,
        'and record.type != "info"',
        "",
        "namesake: nobody knows whether it was deleted, and it was",
    ),
    (
        Listings.register_key,
        "found.lately(now) or found.ever",
        "FIRST",
        "namesake: what was made since is as good",
    ),
    (
        Derivation.has,
        "own == mine for",
        "own is not None for",
        "namesake: neither host nor VM has its key after the boot",
    ),
    (
        Derivation.was_used,
        "and self.came <= origin",
        "",
        "namesake: made while its host was away, which is told later",
    ),
    (
        ProviderListing._is,
        "min(since[0], now) if None in kdks else math.inf",
        "min(since[0], now)",
        "namesake: locked while its key is in the cache",
    ),
)
