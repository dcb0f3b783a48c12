"""A hook where a call of storage or TPM takes effect in the simulation.

A call spends its virtual time, then takes effect at once, in the step of its caller. A gate is
called right before and right after that, and within a commit: it can observe, refuse the call, or
end the life there. There is no gate unless the lab installs one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from services.runtime.incarnation import Incarnation

COMMIT = "db.commit"
"""The call that makes a group of transactions of a database durable."""


@dataclass(frozen=True, slots=True)
class StorageCall:
    """One call of a life: its ``name`` (``disk.append``, ``db.commit``, ``tpm.seal``), and the path
    or database, which is empty for a TPM.

    ``data`` is the data of a write or an append. ``grows``: a full device refuses the call.
    """

    life: Incarnation
    name: str
    path: str
    data: bytes | None = None
    grows: bool = False


class StorageGate(Protocol):
    """A hook around storage calls. The call raises what the gate raises."""

    async def before(self, call: StorageCall) -> None:
        """The call has had no effect yet. Raise ``OSError`` (``TpmError`` for a TPM) to refuse
        it."""
        ...

    def within(self, call: StorageCall) -> None:
        """The transactions of a commit have run but are not committed: ``sqlite3.Error`` or the end
        of the life undoes them."""
        ...

    async def after(self, call: StorageCall) -> None:
        """The call has taken effect, and its caller does not know it yet. An ``OSError`` does not
        undo it."""
        ...
