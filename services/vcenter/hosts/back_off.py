"""How long vCenter waits between two tries to connect a host. Pure."""

from __future__ import annotations

LONGEST_PAUSE_HEARTBEATS = 3.0  # heartbeats between two tries to connect, at most


def pause_s_after(failures: int, heartbeat_s: float) -> float:
    """Lab seconds until the next try to connect, after so many that failed; before its spread."""
    return float(min(LONGEST_PAUSE_HEARTBEATS, 0.1 * 2.0 ** min(failures, 10)) * heartbeat_s)
