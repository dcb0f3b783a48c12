"""Imported into a process before any node is made there: from then on it keeps the ledger."""

from __future__ import annotations

from lab.scan.ledger import keep

keep()
