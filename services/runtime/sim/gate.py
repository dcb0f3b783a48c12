"""What may stand at the place where a call of storage or TPM takes effect in the simulation.

A call spends its virtual time, and then has its effect at once, in the step of who called. A gate
is told right before and right after that, and of a commit also in its midst: it can look, refuse
the call, or end the life there. Nothing stands there unless the lab puts it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from services.runtime.incarnation import Incarnation

COMMIT = "db.commit"
"""The call that makes the transactions of a database durable which wait together."""


@dataclass(frozen=True, slots=True)
class StorageCall:
    """One call: whose, its ``name`` (``disk.append``, ``db.commit``, ``tpm.seal``), the path or
    database; of a TPM the path is empty.

    ``data`` is what a write or an append was given. ``grows``: a full device refuses it.
    """

    life: Incarnation
    name: str
    path: str
    data: bytes | None = None
    grows: bool = False


class StorageGate(Protocol):
    """See the module. What it raises is what the call raises."""

    async def before(self, call: StorageCall) -> None:
        """The call has had no effect yet. ``OSError`` refuses it, ``TpmError`` that of a TPM."""
        ...

    def within(self, call: StorageCall) -> None:
        """The transactions of a commit have run, and it is not made: ``sqlite3.Error`` undoes it,
        and so does the end of the life."""
        ...

    async def after(self, call: StorageCall) -> None:
        """It has had its effect, and nobody knows yet. ``OSError``: it is there all the same."""
        ...
