"""What a host has of one native provider: its key derivation key, by which it makes all others.

The KDK lies in the host's configuration (NKP-10): no boot takes it away, and no key server or
vCenter is needed to use it (NKP-11). vCenter brings it when it lists the provider and reaches the
host, and has it removed when it does not list the provider any more (NKP-02, NKP-15, NKP-17).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from chaos.oracle.fold.known import NO, OPEN, YES, Known


@dataclass
class Derivation:
    """One native provider on one host.

    ``kdk``: whether the host has its KDK; ``excluded``: whether the provider is for hosts with a
    TPM, and this one has none (NKP-12). ``came`` and ``went``: whether the KDK may have come, or
    gone, in the present boot.
    """

    excluded: Known = NO
    kdk: Known = OPEN
    came: bool = False
    went: bool = False

    def booted(self) -> None:
        """The host begins another life, with the configuration of the one before."""
        self.came = self.went = False

    def comes(self, *, surely: bool) -> None:
        """vCenter may have pushed the KDK, or surely has."""
        self.came = True
        self.kdk = YES if surely else self.kdk | YES

    def goes(self, *, surely: bool) -> None:
        """The deletion may have been pushed, or surely has."""
        self.went = True
        self.kdk = NO if surely else self.kdk | NO

    def was_used(self) -> None:
        """A key of it is in memory, so it was derived in this boot; only a deletion ends that."""
        if not self.went:
            self.kdk = YES

    def was_lacking(self) -> None:
        """The boot did not derive the host key; only a push ends that."""
        if not self.came:
            self.kdk = NO

    def cases(self) -> frozenset[tuple[bool, bool]]:
        """Whether it has the KDK, which no host takes that is left out, and whether it is that."""
        both = product(self.kdk, self.excluded)
        return frozenset((has and not excluded, excluded) for has, excluded in both)
