"""What releases of vCenter send to a key server, and in what they differ.

Sessions of vCenter 7.0.3 and 8.0.1 were recorded: they are the same but for the version that they
name. What 8.0.1 can do more is taken from its API. Of 9.0 no session is known here: it is played as
8.0.1, and its wrapped keys as decision 113 has them (``wrapping``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from protocol.kmip import dialect
from services.keyservers.dialogue import Tags


class VcenterRelease(NamedTuple):
    """``version``: what it calls itself at a key server. ``attributes``: an administrator can give
    a key custom attributes (GenerateKey, since 8.0.1); ``wrapping``: one key of the server may wrap
    those of many VMs (since 9.0)."""

    version: str
    attributes: bool
    wrapping: bool

    @property
    def tags(self) -> Tags:
        """The first batch of attributes of a key, which says what made it."""
        values = (self.version, "VMware, Inc.", "VMware vSphere")
        return tuple(zip(dialect.PRODUCT, values, strict=True))


RELEASES: Final[Mapping[str, VcenterRelease]] = {
    "7.0": VcenterRelease("7.0.3 build-19480866", attributes=False, wrapping=False),
    "8.0": VcenterRelease("8.0.1 build-21560480", attributes=True, wrapping=False),
    "9.0": VcenterRelease("9.0.2 build-25148086", attributes=True, wrapping=True),
}
USUAL: Final = "8.0"
