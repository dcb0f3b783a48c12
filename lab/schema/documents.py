"""The document of an answer: what ``-o json`` prints and every other way in gives."""

from __future__ import annotations

from typing import Any

import msgspec

API = "keystead/v1"


def document_of(answer: msgspec.Struct) -> dict[str, Any]:
    """The answer as plain values under its ``apiVersion`` and ``kind``, ready for JSON.

    ``kind`` is the name of the struct; bytes become base64.
    """
    head = {"apiVersion": API, "kind": type(answer).__name__}
    return {**head, **msgspec.to_builtins(answer, str_keys=True)}
