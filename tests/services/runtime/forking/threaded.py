"""A preload that does what no preload may."""

from __future__ import annotations

import threading


def begin() -> None:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
