"""The lab of a campaign: what its runs are drawn for, its snapshot, and the labs that a campaign
draws, one for each seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import Any, Final, Literal

import msgspec

from chaos.draws import Draws
from chaos.experiment.generate import Mix
from chaos.lab import Directory
from lab.simulation.snapshot import Origin
from lab.topology.lab_file import load
from lab.topology.plan import Topology, directory_of, plan

QUICK: Final = {"remediation_interval_s": 60.0, "provider_delete_grace_s": 30.0}
"""Repairs and evictions come within a run, and not only after its end."""


Flavour = Literal["default", "native", "ha", "trusted", "vsan", "two-vcenters", "kmip"]


class CampaignWorld(msgspec.Struct, frozen=True, kw_only=True):
    """How a campaign draws: a lab (as ``topology`` of an experiment has it), a mix of faults, and
    ``patch``, a module that is imported before any node is made (empty: none). ``lab`` is a shipped
    one: with a native key provider there is no key server, whatever ``kms`` says; ``kmip`` has one
    as well unless it says two. ``kms_mode``: that of a group of them. ``persistence``:
    whether hosts keep keys; where they do not, each boot needs vCenter and a key server.
    ``providers``: standard ones, the others with a key server each. ``clusters`` are like the first
    one; ``hosts`` and ``vms`` are those of each. ``without_tpm``: the last hosts of a cluster.
    ``key_type``: what standard providers make; empty: what the lab says. ``bus``: its servers.
    ``knobs`` are those of the lab. ``drawn``: each seed has a lab of its own (``lab.fuzz.world``),
    and what is said here of labs does not matter."""

    lab: Flavour = "default"
    hosts: int = 4
    vms: int = 8
    kms: int = 1
    kms_mode: Literal["", "async", "forward"] = ""
    tpm: str = "model"
    persistence: bool = True
    providers: int = 1
    clusters: int = 1
    without_tpm: int = 0
    key_type: Literal["", "rawKey", "wrappedKey"] = ""
    bus: int = 1
    drawn: bool = False
    mix: Mix = Mix(rare=True)
    knobs: dict[str, Any] = msgspec.field(default_factory=lambda: dict(QUICK))
    patch: str = ""

    @property
    def use(self) -> dict[str, Any]:
        """The lab as an experiment's file names it."""
        fields: dict[str, Any] = {"hosts": self.hosts, "vms": self.vms, "tpm": self.tpm}
        if self.kms > 1 or self.lab == "kmip":
            mode = self.kms_mode
            fields["kms"] = {"replicas": self.kms, "mode": mode} if mode else self.kms
        fields["key_persistence"] = self.persistence
        several = {"providers": self.providers, "clusters": self.clusters}
        fields |= {name: count for name, count in several.items() if count > 1}
        if self.without_tpm:
            fields["without_tpm"] = self.without_tpm
        if self.key_type:
            fields["key_type"] = self.key_type
        if self.bus > 1:
            fields["bus"] = {"servers": self.bus}
        if self.knobs:
            fields["knobs"] = dict(self.knobs)
        return {"use": self.lab, "with": fields}

    def describe_lab(self) -> str:
        """The lab in words: ``kmip, 3 hosts, 5 VMs, 3 key servers (forward), no persistence``."""
        mode = f" ({self.kms_mode})" if self.kms_mode else ""
        parts = [
            (self.clusters > 1, f"{self.clusters} clusters"),
            (True, f"{self.hosts} hosts"),
            (True, f"{self.vms} VMs"),
            (self.kms > 1, f"{self.kms} key servers{mode}"),
            (self.providers > 1, f"{self.providers} providers"),
            (self.without_tpm > 0, f"{self.without_tpm} without TPM"),
            (self.key_type == "wrappedKey", "wrapped keys"),
            (self.bus > 1, f"{self.bus} bus servers"),
            (not self.persistence, "no persistence"),
        ]
        return ", ".join((self.lab, *(text for there, text in parts if there)))

    def topology(self) -> Topology:
        return plan(load(self.lab, **self.use["with"]))

    def directory(self) -> Directory:
        return directory_of(self.topology())

    def origin(self, *, ledger: bool = False) -> Origin:
        return Origin(self.topology(), patch=self.patch, ledger=ledger)


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
