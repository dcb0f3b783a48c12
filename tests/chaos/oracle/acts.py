"""What administrators do, as rows of a ``Story``."""

from __future__ import annotations

from typing import Any

from tests.chaos.oracle.histories import Story


def act(
    story: Story, op: str, n: int, end: str = "ok", *, on: str = "", told: Any = None, **asked: Any
) -> Story:
    """Somebody gives this command (``asked``: its fields), and it ends so; ``told``: what its end
    says."""
    story.op("invoke", on, op, n=n, action=op, **asked)
    return story.op(end, on, op, n=n, action=op, **(told or {}))
