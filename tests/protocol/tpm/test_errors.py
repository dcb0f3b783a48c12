"""Return codes: every one of the laboratory's table has its name, its place and its kind."""

from __future__ import annotations

import pickle

import pytest

from protocol.tpm.errors import TpmError, TpmErrorKind, tpm_error, tpm_gone


@pytest.mark.parametrize(
    ("rc", "name", "kind"),
    [
        (0x100, "TPM_RC_INITIALIZE", TpmErrorKind.OTHER),
        (0x101, "TPM_RC_FAILURE", TpmErrorKind.FAILURE),
        (0x99D, "TPM_RC_POLICY_FAIL (session 1)", TpmErrorKind.POLICY),
        (0x12F, "TPM_RC_AUTH_UNAVAILABLE", TpmErrorKind.POLICY),
        (0x1C4, "TPM_RC_VALUE (parameter 1)", TpmErrorKind.OTHER),
        (0x128, "TPM_RC_PCR_CHANGED", TpmErrorKind.RETRY),
        (0x18B, "TPM_RC_HANDLE (handle 1)", TpmErrorKind.HANDLE),
        (0x1DF, "TPM_RC_INTEGRITY (parameter 1)", TpmErrorKind.INTEGRITY),
        (0x98E, "TPM_RC_AUTH_FAIL (session 1)", TpmErrorKind.OTHER),
        (0x921, "TPM_RC_LOCKOUT", TpmErrorKind.LOCKOUT),
        (0x907, "TPM_RC_LOCALITY", TpmErrorKind.OTHER),
        (0x910, "TPM_RC_REFERENCE_H0", TpmErrorKind.HANDLE),
        (0x14A, "TPM_RC_NV_UNINITIALIZED", TpmErrorKind.OTHER),
        (0xA000A, "TSS2_RC layer 0xa", TpmErrorKind.GONE),
    ],
)
def test_code(rc: int, name: str, kind: TpmErrorKind) -> None:
    error = tpm_error(rc)
    assert (error.rc, error.name, error.kind) == (rc, name, kind)
    assert f"{rc:#x}" in str(error)


def test_error_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(tpm_gone("powered off")))  # noqa: S301
    assert isinstance(error, TpmError)
    assert error.kind is TpmErrorKind.GONE
    assert "powered off" in str(error)
