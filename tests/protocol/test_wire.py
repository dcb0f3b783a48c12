"""What is sent and stored without being written down: numbers of errors, defaults of messages."""

from __future__ import annotations

from typing import Any

import msgspec
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from protocol.errors import REGISTRY
from tests.protocol.messages import PRODUCT

RENEW = (
    "what programs of an earlier version send or read changed; if that is meant, renew the golden "
    "file: ./keystead test tests/protocol/test_wire.py --snapshot-update"
)

OMITTED = (msgspec.NODEFAULT, msgspec.UNSET, None, False, "", b"", ())


class _Text(SingleFileSnapshotExtension):
    file_extension = "txt"
    _write_mode = WriteMode.TEXT

    def serialize(self, data: Any, **_: Any) -> str:
        return str(data)


def test_codes_and_defaults_are_as_they_were(snapshot: SnapshotAssertion) -> None:
    """A field that is left out has its default at the receiver; None and empty ones are not
    listed."""
    rows = [f"error {one.code} {name} {one.fault}" for name, one in sorted(REGISTRY.items())]
    for cls in PRODUCT:
        rows += [
            f"{cls.__name__}.{field.name} = {field.default!r}"
            for field in msgspec.structs.fields(cls)
            if not isinstance(field.default, msgspec.Raw) and field.default not in OMITTED
        ]
    assert snapshot.use_extension(_Text) == "\n".join(rows) + "\n", RENEW
