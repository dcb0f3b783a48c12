"""Parts of a provider's row about its keys and secrets. Secrets are wrapped under vCenter's own key
(``symkey``)."""

from __future__ import annotations

import msgspec

from protocol.messages.vcenter import KeySpec, WrappingKeyInfo


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


class WrappingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What new keys of a standard provider are (KEY-07): as asked for by ``spec``.

    ``known``: its wrapping keys, the last one in force unless it ended. ``made``: how many vCenter
    has created under ``revision``; both are part of the operation id of the next one at the key
    server, so that a repeat after a crash finds the same key.
    """

    spec: KeySpec
    revision: str
    known: tuple[WrappingKeyInfo, ...] = ()
    made: int = 0

    @property
    def current(self) -> WrappingKeyInfo | None:
        """The wrapping key in force; None before vCenter has created one."""
        last = self.known[-1] if self.known else None
        return None if last is None or last.until is not None else last
