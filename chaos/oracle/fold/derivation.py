"""A host's key derivation key (KDK) of one native provider, from which it derives all keys of it.

The KDK is in the host's configuration (NKP-10). It survives boots, and its use needs no key server
or vCenter (NKP-11). vCenter pushes the KDK that it lists when it reaches the host, and has it
removed when it no longer lists the provider (NKP-02, NKP-15, NKP-17). Several KDKs of one name have
numbers (``listings``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

from chaos.oracle.facts import Kdk
from chaos.oracle.fold.known import NO, Known
from chaos.oracle.fold.listings import FIRST, NONE, Kdks, of_kdk


@dataclass
class Derivation:
    """One native provider on one host.

    ``kdk``: the KDKs that the host may have. ``excluded``: the provider is for hosts with a TPM,
    and this one has none (NKP-12). ``at_boot``: the KDKs that it may have had when the present boot
    began. ``came``: the KDKs that may have arrived since. ``went``: whether one may have been
    removed.
    """

    excluded: Known = NO
    kdk: Kdks = FIRST | NONE
    at_boot: Kdks = FIRST | NONE
    came: Kdks = field(default_factory=frozenset)
    went: bool = False

    def boot(self) -> None:
        """The host boots, with the same configuration."""
        self.came, self.went = frozenset(), False
        self.at_boot = self.kdk

    def could_derive(self, origin: Kdks) -> bool:
        """Whether the host may have derived a key of this origin in the present boot."""
        return bool((self.at_boot | self.came | self.kdk) & origin)

    def comes(self, kdks: Kdks, *, surely: bool) -> None:
        """vCenter has pushed one of these KDKs, perhaps or surely."""
        self.came |= kdks
        self.kdk = kdks if surely else self.kdk | kdks

    def goes(self, *, surely: bool) -> None:
        """The deletion was pushed, perhaps or surely."""
        self.went = True
        self.kdk = NONE if surely else self.kdk | NONE

    def has(self, origin: Kdks) -> Known:
        """Whether the host has the KDK that a key of this origin is derived from."""
        return frozenset(own == mine for own, mine in product(self.kdk, origin))

    def was_used(self, origin: Kdks) -> None:
        """A key of this origin is in memory, so it was derived in this boot. Only another KDK or a
        deletion ends that."""
        if not self.went and self.came <= origin:
            self.kdk = origin

    def was_lacking(self, origin: Kdks) -> None:
        """The boot did not derive the host key. Only a push ends that."""
        if not self.came:
            self.lacks(origin)

    def lacks(self, origin: Kdks) -> None:
        """A key of this origin cannot be derived now."""
        if len(origin) == 1:
            self.kdk = (self.kdk - origin) or NONE

    def cases(self, origin: Kdks) -> frozenset[tuple[Kdk, bool]]:
        """The possible KDKs of the host for a key of this origin, and whether it is excluded, in
        which case it has none."""
        each = product(self.kdk, origin, self.excluded)
        return frozenset(
            (Kdk.ABSENT if excluded else of_kdk(own, mine), excluded)
            for own, mine, excluded in each
        )
