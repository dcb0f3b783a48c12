"""Checks of a list of Trust Authority services, wherever one enters (TA-08). Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from protocol import names
from protocol.crypto.tokens import check_certificate
from protocol.errors import InvalidArgument
from protocol.printable import is_text
from protocol.trust import GROUP_LIMIT, ServiceRecord


def check_records(records: Sequence[ServiceRecord]) -> None:
    """``InvalidName`` or ``InvalidArgument`` for malformed or duplicate records."""
    for record in records:
        names.NODE.check(record.node)
        if not is_text(record.group, GROUP_LIMIT):
            raise InvalidArgument(f"{record.node}: its group is not a valid id")
        if not record.trusted_ca:
            raise InvalidArgument(f"{record.node}: no certificate")
        for certificate in record.trusted_ca:
            check_certificate(certificate)
    for node, times in Counter(record.node for record in records).items():
        if times > 1:
            raise InvalidArgument(f"services: {node} is listed twice")
