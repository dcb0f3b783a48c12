"""What rows of the inventory have wrapped in them, under vCenter's own key (``symkey``)."""

from __future__ import annotations

import msgspec


class NativeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A native provider: its KDK ``wrapped`` (``providers.native``), which has the id ``key_id``.

    ``revision``: another one each time that a KDK is given. ``backed_up``: it was downloaded, or
    came from a backup; ``updated``: its id has changed since. ``told_at``: when it was last told
    that no backup is as it is now (Unix seconds).
    """

    key_id: str
    revision: str
    wrapped: bytes
    tpm_required: bool = False
    backed_up: bool = False
    updated: bool = False
    told_at: float = 0.0


class ClientCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """What vCenter shows the KMIP servers of a provider: its certificate (DER), those above it, and
    its private key ``wrapped`` (``providers.client_certificates``); empty when that is lost.
    ``request``: what was made for somebody to sign (PKCS#10 DER); empty: nothing was."""

    chain: tuple[bytes, ...]
    wrapped: bytes
    request: bytes = b""
