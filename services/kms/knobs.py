"""The knobs of a key server: it has none yet, for KMIP leaves nothing open that it does."""

from __future__ import annotations

from services.runtime.knobs import Knobs


class KmsKnobs(Knobs, frozen=True, kw_only=True):
    """What is open about a key server."""
