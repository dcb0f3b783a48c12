"""Experiments on a running lab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from lab.schema.commands.arguments import doc
from lab.schema.commands.base import Command, Look, check_names, wrong
from protocol import names

if TYPE_CHECKING:
    from chaos.lab import Directory
    from chaos.verdict import Verdict
    from lab.schema.answers import RunStopped


def _run(name: str) -> None:
    """Check the name of a run, which is also the name of its folder."""
    if not name:
        raise wrong("the name of the run is empty")
    check_names(names.RUN, name)


class GetDirectory(Look["Directory"], frozen=True, tag="get.directory"):
    """The nodes and VMs of this lab, which the selectors of experiments are resolved against."""

    words = ""


class ChaosPlay(Command["Verdict"], frozen=True, tag="chaos.play"):
    """Play the plan of a prepared run folder of this machine; one run at a time.

    KS-CHAOS-102 while another one is being played.
    """

    words = ""  # `chaos run --on`
    run: str

    def __post_init__(self) -> None:
        _run(self.run)


class ChaosStop(Command["RunStopped"], frozen=True, tag="chaos.stop"):
    """Stop a run or a load on a running lab, and heal the faults that it injected.

    keystead chaos stop -n edge
    keystead chaos stop load-lab-1 -n edge

    Use it for a run whose terminal was closed: the lab continues such a run. Its verdict is
    interrupted, exit code 130. KS-RUN-001 when no run of that name is active here.
    """

    run: Annotated[str, doc("Name of the run. Default: the active run.", word=True)] = ""

    def __post_init__(self) -> None:
        if self.run:
            _run(self.run)
