"""A lab that is watched from its first message on: what was said on its bus, and every secret."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from lab.scan.exempt import leaks
from lab.scan.search import Find, SearchedPlace, search


class Found(msgspec.Struct, frozen=True):
    """A search: for so many ``secrets`` in so many ``places``. ``hits`` are places with any of them
    (``kind name``), ``leaks`` what no exemption allows, with who made it; never bytes."""

    secrets: int
    places: int
    hits: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()


class SecretWatch:
    """``secrets``: bytes -> who made them, as they are known at each moment."""

    def __init__(self, secrets: Mapping[bytes, str]) -> None:
        self.secrets = secrets
        self.wire: list[SearchedPlace] = []

    def hear(self, subject: str, reply: str, payload: bytes) -> None:
        """A message as the broker lets it in (``services.runtime.wire.TapCallback``)."""
        self.wire.append(SearchedPlace("bus", subject, f"{subject} {reply} ".encode() + payload))

    def search_places(self, places: Iterable[SearchedPlace]) -> Found:
        """Where any secret lies in these."""
        looked = tuple(places)
        finds = search(dict(self.secrets), looked)
        return Found(
            secrets=len(self.secrets),
            places=len(looked),
            hits=tuple(dict.fromkeys(f"{find.kind} {find.name}" for find in finds)),
            leaks=tuple(dict.fromkeys(map(_describe_find, leaks(finds)))),
        )


def _describe_find(find: Find) -> str:
    return f"{find.secret} in {find.kind} {find.name} ({find.form})"
