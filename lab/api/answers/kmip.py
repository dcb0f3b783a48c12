"""What commands about KMIP without a lab are answered with."""

from __future__ import annotations

from lab.api.answers.base import Answer
from lab.kmip.cases import PlayedCase


class KmipCases(Answer, frozen=True, kw_only=True):
    """Conversations in KMIP's XML, and how many of them went as they say."""

    passed: int
    failed: int
    skipped: int
    cases: tuple[PlayedCase, ...]
