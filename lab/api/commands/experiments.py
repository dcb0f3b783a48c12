"""Experiments on a lab that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.api.commands.base import Command

if TYPE_CHECKING:
    from chaos.lab import Directory
    from chaos.verdict import Verdict
    from lab.api.answers import RunStopped


class GetDirectory(Command["Directory"], frozen=True, tag="get.directory"):
    """Who is in this lab: plans of experiments are resolved against it."""


class ChaosPlay(Command["Verdict"], frozen=True, tag="chaos.play"):
    """Play the plan of a prepared run folder of this machine; one run at a time.

    KS-CHAOS-102 while another one is being played.
    """

    run: str


class ChaosStop(Command["RunStopped"], frozen=True, tag="chaos.stop"):
    """Interrupt a run: it heals everything it began, and its verdict says 130.

    KS-RUN-001 when no run of that name is being played here.
    """

    run: str
