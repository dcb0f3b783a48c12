"""The one error of everything that reads or writes KMIP."""

from __future__ import annotations

from protocol.kmip.enums import ResultReason


class KmipError(ValueError):
    """Bytes, a tree or a struct that are no message of KMIP; the text says where and why.

    ``reason`` is the Result Reason that a server answers with. The text has names, places and
    sizes, never values: a value may be a key.
    """

    def __init__(self, text: str, reason: ResultReason = ResultReason.INVALID_MESSAGE) -> None:
        super().__init__(text)
        self.reason = reason
