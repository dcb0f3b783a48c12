"""A TPM under a host that boots, as vCenter's attestation sees it."""

from __future__ import annotations

from protocol.messages.agent import Firmware
from protocol.messages.host.crypto import TpmAttestationReport
from protocol.tpm.structures import PCR_ATTESTED, EkKind, TpmCredential
from services.esxi.measured_boot import measurements
from services.runtime.tpm.device import MemoryNv
from services.runtime.tpm.model import ModelDevice
from services.vcenter.hosts.attestation import TpmEvidence, examine

NONCE = b"n" * 32


class Bench:
    """A TPM under a host that boots; ``number``: which TPM, each has keys of its own."""

    def __init__(self, number: int = 0) -> None:
        self.tpm = ModelDevice(MemoryNv(), lambda size: bytes(range(number, number + size)))
        self.log = b""

    def boot(self, firmware: Firmware | None = None, build: str = "1") -> None:
        self.tpm.power_off(orderly=True)
        self.tpm.power_on()
        events = measurements(firmware or Firmware(), "8.0U3", build, {})
        self.log = self.tpm.extend_log(events)

    def report(self, nonce: bytes = NONCE) -> TpmAttestationReport:
        return TpmAttestationReport(
            ek=self.tpm.ek(EkKind.ECC_P256)[0],
            ak=self.tpm.ak()[0],
            quote=self.tpm.quote(PCR_ATTESTED, nonce),
            event_log=self.log,
        )

    def opened(self, credential: TpmCredential) -> bytes:
        return self.tpm.activate(credential.id_object, credential.encrypted_seed)

    def seen(self) -> TpmEvidence:
        found = examine(self.report(), NONCE)
        assert isinstance(found, TpmEvidence), found
        return found
