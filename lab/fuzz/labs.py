"""The labs that a campaign draws: each seed is played in one of them.

There are ``LABS`` of them, so that many seeds share one and it is built once for all. What a lab
is like depends on its number alone, and its number on the seed alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import Final, Literal

import msgspec

from chaos.draws import Draws
from lab.fuzz.world import CampaignWorld, Flavour

LABS: Final = 48
CHUNK: Final = 512  # seeds that are put in order by their labs
_FLAVOURS: Final[tuple[Flavour, ...]] = (
    *("default", "default", "default", "kmip", "kmip", "native"),
    *("trusted", "ha", "vsan", "two-vcenters"),
)
"""Each as likely as it stands here often."""
_SERVERS: Final[tuple[tuple[int, Literal["", "async", "forward"]], ...]] = (
    *((1, ""), (1, ""), (2, ""), (2, ""), (2, "")),
    *((3, "async"), (3, "forward"), (2, "forward")),
)
_WITH_SERVERS: Final = ("default", "kmip", "ha", "vsan")
_WITH_PROVIDERS: Final = ("default", "kmip", "ha")
_WITH_CLUSTERS: Final = ("default", "kmip", "native", "ha")
_WITH_WRAPPED_KEYS: Final = ("default", "kmip", "ha", "vsan", "two-vcenters")
_WITHOUT_TPMS: Final = ("default", "kmip", "native")


def number_of(seed: int) -> int:
    """Which of the labs a seed is played in."""
    return Draws(seed, "campaign/lab").below(LABS)


def draw_lab(world: CampaignWorld, number: int) -> CampaignWorld:
    """The lab of that number, with the faults, TPM, knobs and patch of ``world``."""
    draws = Draws(number, "lab")

    def likely(share: float, where: Iterable[str]) -> bool:
        return draws.unit() < share and flavour in where

    flavour = _FLAVOURS[draws.below(len(_FLAVOURS))]
    hosts = 3 + draws.below(2) if flavour in ("ha", "vsan") else 2 + draws.below(3)
    vms = hosts + draws.below(hosts + 1)
    servers, mode = _SERVERS[draws.below(len(_SERVERS))]
    several = flavour in _WITH_SERVERS
    made = msgspec.structs.replace(
        world,
        drawn=False,
        lab=flavour,
        hosts=hosts,
        vms=vms,
        kms=servers if several else 1,
        kms_mode=mode if several else "",
        persistence=draws.unit() < 0.7,
        providers=2 if likely(0.3, _WITH_PROVIDERS) and not mode else 1,
        clusters=2 if likely(0.3, _WITH_CLUSTERS) else 1,
        bus=3 if draws.unit() < 0.2 else 1,
    )
    if likely(0.3, _WITHOUT_TPMS):
        made = msgspec.structs.replace(made, without_tpm=1 + draws.below(hosts - 1))
    if flavour in _WITH_WRAPPED_KEYS and Draws(number, "lab/keys").unit() < 0.35:
        made = msgspec.structs.replace(made, key_type="wrappedKey")
    return made


def by_lab(seeds: Iterable[int]) -> Iterator[tuple[int, list[int]]]:
    """The seeds in their order, ``CHUNK`` after ``CHUNK``; those of a chunk that share a lab come
    together, with its number."""
    waiting = iter(seeds)
    while chunk := list(islice(waiting, CHUNK)):
        chunk.sort(key=lambda seed: (number_of(seed), seed))
        for number, some in groupby(chunk, number_of):
            yield number, list(some)
