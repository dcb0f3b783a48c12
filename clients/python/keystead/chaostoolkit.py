"""Actions and probes for Chaos Toolkit, on one lab for the length of an experiment.

In an experiment's file::

    "configuration": {"keystead_file": "edge", "keystead_mode": "sim", "keystead_seed": 7},
    "controls": [{"name": "keystead",
                  "provider": {"type": "python", "module": "keystead.chaostoolkit"}}],
    "method": [{"type": "action", "name": "cut",
                "provider": {"type": "python", "module": "keystead.chaostoolkit", "func": "cut",
                             "arguments": {"a": "vcenter", "b": "kms"}}}]

``keystead_mode: running`` acts on the lab ``keystead_name`` that ``keystead up`` has started. The
control ends the lab after the experiment.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

from keystead.connection import KeysteadError, plain
from keystead.lab import Lab

T = TypeVar("T")
_PREFIX = "keystead_"
_open: list[Lab] = []

__all__ = ["command", "cut", "events", "fault", "has_event", "heal", "power_loss", "reboot", "wait"]


def _lab(configuration: Mapping[str, Any] | None) -> Lab:
    if not _open:
        values = {
            key.removeprefix(_PREFIX): value
            for key, value in (configuration or {}).items()
            if key.startswith(_PREFIX)
        }
        lab = Lab(**values)
        lab.__enter__()
        atexit.register(lab.close)
        _open.append(lab)
    return _open[0]


def _activity(function: Callable[..., T]) -> Callable[..., T]:
    """An error of the lab is a failed activity, not a defect of the driver."""

    @wraps(function)
    def run(*words: Any, **values: Any) -> T:
        try:
            return function(*words, **values)
        except KeysteadError as error:
            from chaoslib.exceptions import ActivityFailed

            raise ActivityFailed(str(error)) from error

    return run


def after_experiment_control(**_: Any) -> None:
    """End the lab."""
    while _open:
        _open.pop().close()


@_activity
def command(name: str, arguments: dict[str, Any], configuration: Any = None) -> dict[str, Any]:
    """Any command of ``keystead schema``."""
    made: dict[str, Any] = plain(_lab(configuration).do(name, arguments))
    return made


@_activity
def cut(a: str, b: str, one_way: bool = False, configuration: Any = None) -> str:
    """Cut the link between two nodes; the id of the fault."""
    return _lab(configuration).cut(a, b, one_way=one_way)


@_activity
def fault(kind: str, values: dict[str, Any] | None = None, configuration: Any = None) -> str:
    """Begin any fault of ``keystead explain fault``; its id."""
    return _lab(configuration).fault(kind, **(values or {}))


@_activity
def heal(configuration: Any = None) -> None:
    """Take all faults back: for rollbacks."""
    _lab(configuration).heal(all=True)


@_activity
def power_loss(hosts: list[str], configuration: Any = None) -> None:
    """Pull the power of hosts and give it back."""
    _lab(configuration).power_loss(*hosts)


@_activity
def reboot(hosts: list[str], configuration: Any = None) -> None:
    """Reboot hosts in order."""
    _lab(configuration).reboot(*hosts)


def wait(conditions: list[str], within: str = "10m", configuration: Any = None) -> bool:
    """A probe: whether all conditions hold within this lab time."""
    try:
        _lab(configuration).wait(*conditions, within=within)
    except KeysteadError as error:
        if error.id == "KS-WAIT-001":
            return False
        raise
    return True


@_activity
def events(configuration: Any = None) -> list[str]:
    """A probe: the types of vCenter's events, oldest first."""
    return [event.event for event in _lab(configuration).events()]


@_activity
def has_event(event: str, configuration: Any = None) -> bool:
    """A probe: whether vCenter has raised an event of this type."""
    return event in _lab(configuration).events()
