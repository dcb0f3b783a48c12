"""Entering commands into a group under their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cyclopts import App


def enter(group: App, *commands: Callable[..., Any], prefix: str = "") -> None:
    """Enter functions as commands; ``prefix`` of their names is left out."""
    for command in commands:
        name = command.__name__.removeprefix(prefix).rstrip("_").replace("_", "-")
        group.command(command, name=name)
