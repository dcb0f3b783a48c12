"""What a host lets its TPM say to vCenter: which TPM it is, and what this boot measured (ATT-09).

The host has no part in the judgement and cannot flatter it: keys, counters and registers are
signed by the TPM, and the log is worth what it replays to.
"""

from __future__ import annotations

from protocol.errors import InvalidArgument, InvalidState, NotAvailable
from protocol.messages.host import LOG_LIMIT, TpmAttestationReport
from protocol.tpm.errors import TpmError
from protocol.tpm.event_log import EventLogError, parse_log
from protocol.tpm.structures import Credential, EkKind, PcrSelection
from services.esxi.host import Host
from services.runtime.ports import Tpm

_NONCE_LIMIT = 64  # bytes, of a quote's qualifying data


async def report(host: Host, nonce: bytes, selection: PcrSelection) -> TpmAttestationReport:
    """A quote over ``nonce`` (64 bytes at most), the keys behind it, and the log of this boot.

    ``NotAvailable`` without a TPM, ``InvalidState`` when the TPM gives no quote.
    """
    if len(nonce) > _NONCE_LIMIT:
        raise InvalidArgument(f"nonce: at most {_NONCE_LIMIT} bytes")
    tpm = _tpm(host)
    try:
        ek, _ = await tpm.ek(EkKind.ECC_P256)
        ak, _ = await tpm.ak()
        quote = await tpm.quote(selection, nonce)
    except TpmError as error:
        raise InvalidState(f"the TPM of {host.node.name} gives no quote: {error}") from None
    reliable = _has_room(host.event_log)
    log = host.event_log if reliable else b""
    return TpmAttestationReport(ek=ek, ak=ak, quote=quote, event_log=log, log_reliable=reliable)


async def activate(host: Host, credential: Credential) -> bytes:
    """The secret in a credential; ``InvalidState`` when it was made for another TPM or key."""
    try:
        return await _tpm(host).activate(credential.id_object, credential.encrypted_seed)
    except TpmError as error:
        raise InvalidState(f"the TPM of {host.node.name} opens no credential: {error}") from None


def _tpm(host: Host) -> Tpm:
    if host.tpm is None:
        raise NotAvailable(f"{host.node.name} has no TPM")
    return host.tpm


def _has_room(log: bytes) -> bool:
    """Whether the log could take every entry (ATT-10); one that cannot be read could not."""
    try:
        return len(parse_log(log)) <= LOG_LIMIT
    except EventLogError:
        return False
