"""What one message does to the database: drafts of rows and of the trail, written at its end.

A key that is created, activated and got in one message is one row written once, and its three
entries of the trail are appended together. When the message fails, its drafts are dropped.
"""

from __future__ import annotations

import sqlite3

import msgspec

from protocol.errors import ProductError
from protocol.terms import KeyId, ResultReason
from services.kms import store
from services.kms.access import Caller
from services.kms.audit import AuditEntry, Trail
from services.kms.master import Vault
from services.kms.operations import Operation
from services.kms.store import KeyRow


class Refusal(Exception):
    """A message ends here with ``error``; ``scope`` is who may read of it in the trail."""

    def __init__(self, error: ProductError, scope: str) -> None:
        super().__init__(str(error))
        self.error, self.scope = error, scope


class Work:
    """One message inside of its transaction; ``at`` is the server's time, in Unix seconds.

    ``placeholder`` is KMIP's ID Placeholder; ``repeated`` says that the Create which set it had
    made its key before.
    """

    def __init__(
        self, connection: sqlite3.Connection, vault: Vault, caller: Caller, at: float
    ) -> None:
        self.connection, self.vault = connection, vault
        self.caller, self.at = caller, at
        self.placeholder = KeyId("")
        self.repeated = False
        self._trail = Trail(connection, vault, at)
        self._rows: dict[KeyId, KeyRow] = {}
        self._fresh: list[KeyId] = []

    def find(self, key_id: KeyId) -> KeyRow | None:
        """The key as this message has left it; ``CryptographicFailure`` for an altered row."""
        drafted = self._rows.get(key_id)
        return drafted or store.find(self.connection, self.vault, key_id)

    def find_created(self, scope: str, operation_id: str) -> KeyRow | None:
        """The key that this operation has made, if it has, in this message or before."""
        for key_id in self._fresh:
            if self._rows[key_id].operation_id == operation_id:
                return self._rows[key_id]
        return store.find_created(self.connection, self.vault, scope, operation_id)

    def insert(self, row: KeyRow, operation: Operation) -> None:
        """Draft a new key that ``operation`` has made, and note it."""
        self._fresh.append(row.key_id)
        self.update(row, operation)

    def update(self, row: KeyRow, operation: Operation) -> None:
        """Draft what ``operation`` has made of the key, and note it."""
        number = self.note(operation, row.key_id, row.scope)
        self._rows[row.key_id] = msgspec.structs.replace(row, changed=number)

    def note(
        self, operation: Operation, key_id: str, scope: str, reason: ResultReason | None = None
    ) -> int:
        """Draft an entry of the trail (``reason`` None: it succeeded) and return its number."""
        return self._trail.note(AuditEntry(self.caller.who, scope, operation, key_id, reason))

    def write(self) -> None:
        """Write all drafts; the transaction's commit makes them durable."""
        for key_id, row in self._rows.items():
            if key_id in self._fresh:
                store.insert(self.connection, self.vault, row)
            else:
                store.update(self.connection, self.vault, row)
        self._trail.write()
