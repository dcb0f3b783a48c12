"""The local console of a host."""

from __future__ import annotations

from typing import ClassVar

from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.host.session import Done


class Esxcli(Request["EsxcliResult"], frozen=True, kw_only=True):
    """A command at the local console: its arguments, without the word ``esxcli``."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    arguments: tuple[str, ...]


class EsxcliResult(Reply, frozen=True, kw_only=True):
    """What the console prints; ``exit_code`` 0 for success."""

    exit_code: int
    output: str


class SaveConfiguration(Request[Done], frozen=True, kw_only=True):
    """The auto-backup script: save the configuration archive now."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
