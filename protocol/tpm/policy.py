"""The digest of a PCR policy, computed without a TPM (so one can seal for the next boot)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from protocol.tpm.structures import DIGEST_SIZE, PcrSelection
from protocol.tpm.wire import pcr_select, u32

CC_POLICY_PCR: Final = 0x0000017F


def pcr_digest(selection: PcrSelection, values: Mapping[int, bytes]) -> bytes:
    """SHA-256 over the selected PCR values in ascending order; ``KeyError`` if one is missing."""
    return hashlib.sha256(b"".join(values[pcr] for pcr in selection.pcrs)).digest()


def policy_pcr_digest(selection: PcrSelection, values: Mapping[int, bytes]) -> bytes:
    """The policy digest that TPM2_PolicyPCR (TPM 2.0 part 3) would give, in 32 bytes.

    ``values`` has 32 bytes for each PCR index. Seal under it what shall open only while the PCRs
    have these values (POL-01). ``KeyError`` when a selected PCR has no value.
    """
    start = bytes(DIGEST_SIZE) + u32(CC_POLICY_PCR) + pcr_select(selection.pcrs)
    return hashlib.sha256(start + pcr_digest(selection, values)).digest()
