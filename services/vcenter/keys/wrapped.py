"""Secrets in rows of the inventory, wrapped under vCenter's own key (``symkey``)."""

from __future__ import annotations

import msgspec


class NativeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A native provider: its KDK ``wrapped`` (``providers.native``), with the id ``key_id``.

    ``revision`` changes each time that a KDK is set. ``backed_up``: it was downloaded, or came from
    a backup; ``updated``: its id has changed since. ``told_at``: the last event that there is no
    current backup (Unix seconds).
    """

    key_id: str
    revision: str
    wrapped: bytes
    tpm_required: bool = False
    backed_up: bool = False
    updated: bool = False
    told_at: float = 0.0


class ClientCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """The certificate (DER) that vCenter presents to the KMIP servers of a provider, the issuing
    ones, and its private key ``wrapped`` (``providers.client_certificates``); empty when that is
    lost. ``request``: a signing request (PKCS#10 DER); empty: there is none."""

    chain: tuple[bytes, ...]
    wrapped: bytes
    request: bytes = b""
