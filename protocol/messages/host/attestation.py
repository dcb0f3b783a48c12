"""How vCenter learns which TPM a host has, and what that host booted (ATT-09).

Both requests only read and need no session.
"""

from __future__ import annotations

from typing import Final

from protocol.messages.base import Reply, Request
from protocol.tpm.structures import PcrSelection, PublicArea, Quote, TpmCredential

LOG_LIMIT: Final = 1000
"""Entries that the event log of a TPM holds (ATT-10)."""


class QueryTpmAttestationReport(Request["TpmAttestationReport"], frozen=True, kw_only=True):
    """vim25 QueryTpmAttestationReport: a quote over ``selection`` and ``nonce``, with the log.

    ``NotAvailable`` from a host without a TPM, ``InvalidState`` when its TPM gives no quote.
    ``nonce`` has at most 64 bytes.
    """

    nonce: bytes
    selection: PcrSelection


class TpmAttestationReport(Reply, frozen=True, kw_only=True):
    """The TPM's quote of this boot.

    ``ek`` and ``ak`` are the public areas of endorsement key and attestation key; ``event_log`` is
    in the TCG's crypto-agile format. ``log_reliable`` False: the log was full (``LOG_LIMIT``) and
    is left out.
    """

    ek: PublicArea
    ak: PublicArea
    quote: Quote
    event_log: bytes
    log_reliable: bool = True


class ActivateTpmCredential(Request["TpmCredentialActivated"], frozen=True, kw_only=True):
    """Have the TPM open a credential made for its endorsement key and attestation key.

    ``InvalidState`` when it was made for other keys.
    """

    credential: TpmCredential


class TpmCredentialActivated(Reply, frozen=True, kw_only=True):
    """The secret in the credential: only the TPM with both keys can open it."""

    secret: bytes
