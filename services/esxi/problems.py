"""ReportedProblems that a host reports since its boot: written dumps, a failing TPM.

They are part of the host's view; vCenter posts an event for each, once. A boot begins with none.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from protocol.events import EventTypeId
from protocol.messages.host import HostProblem
from protocol.terms import CryptoKeyId, VmName
from protocol.tpm.errors import RC_ATTRIBUTES_H1, TpmError, TpmErrorKind

KEPT: Final = 32
"""How many a view has. Earlier ones are lost to a vCenter that was away all the time."""


class ReportedProblems:
    """The problems of one boot of one host, in order of their numbers."""

    def __init__(self) -> None:
        self._latest: list[HostProblem] = []
        self._count = 0
        self._crashes: Counter[VmName | None] = Counter()  # by VM; None: hostd

    @property
    def latest(self) -> tuple[HostProblem, ...]:
        """The latest problems, at most ``KEPT``."""
        return tuple(self._latest)

    def add(
        self,
        event: EventTypeId,
        text: str,
        *,
        vm: VmName | None = None,
        key: CryptoKeyId | None = None,
    ) -> None:
        """Add a problem."""
        self._count += 1
        problem = HostProblem(number=self._count, event=event, text=text, vm=vm, key=key)
        self._latest = [*self._latest, problem][-KEPT:]

    def record_dump(self, path: str, key: CryptoKeyId, vm: VmName | None) -> None:
        """A process crashed; its memory is encrypted at ``path`` (DUMP-02)."""
        crashed = (
            EventTypeId.HOSTD_CORE_DUMPED if vm is None else EventTypeId.APPLICATION_CORE_DUMPED
        )
        self._crashes[vm] += 1
        process = "/bin/hostd" if vm is None else f"/bin/vmx ({vm})"
        text = (
            f"{process} crashed ({self._crashes[vm]} time(s) so far) and an encrypted core file "
            f"using keyId {key} may have been created at {path}"
        )
        self.add(crashed, text, vm=vm, key=key)

    def record_unusable_tpm(self, error: TpmError) -> None:
        """The boot could not use its TPM 2.0: the TPM does not answer, a key of an earlier
        installation is in the way (``TpmAct.OCCUPY``), or it refuses to be provisioned."""
        if error.kind in (TpmErrorKind.GONE, TpmErrorKind.FAILURE):
            event, why = EventTypeId.TPM2_CONNECTION, "a connection cannot be established"
        elif error.rc == RC_ATTRIBUTES_H1:
            event, why = EventTypeId.TPM2_OWNERSHIP, "ownership cannot be acquired: clear the TPM"
        else:
            event, why = EventTypeId.TPM2_PROVISIONING, "it could not be provisioned"
        self.add(event, f"TPM 2.0 device detected but {why} ({error})")
