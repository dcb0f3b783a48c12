"""Commands of this noun are entered here; none yet."""

from __future__ import annotations

from cyclopts import App


def register(app: App) -> None:
    """Nothing to enter yet."""
