"""What is told of a key server without a lab, and of conversations with one.

Answers are made of these, and every command line imports the answers: nothing that serves is
imported here.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class PlayedCase(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a file; ``why`` it did not pass."""

    file: str
    result: Literal["passed", "failed", "skipped"]
    why: str = ""


class KmipClient(msgspec.Struct, frozen=True, kw_only=True):
    """An identity of the server; ``digest`` is the SHA-256 of its public key."""

    name: str
    role: str
    scope: str
    revoked: bool
    digest: str
