"""Report files of a load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lab.cli.output import say
from lab.schema.errors import KeysteadError

if TYPE_CHECKING:
    from lab.schema.answers.load import LoadReport


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LoadFiles:
    """The report files of a load."""

    html: Annotated[Path | None, Parameter(help="File for a report in HTML.")] = None
    hgrm: Annotated[
        Path | None, Parameter(help="File for HdrHistogram percentiles of all operations.")
    ] = None

    def check(self) -> None:
        """KS-USE-003 where one cannot be written, before a load is offered for it."""
        from lab.local.stored.reports import place_for

        place_for("--html", self.html)
        place_for("--hgrm", self.hgrm)
        if self.html is not None and self.hgrm is not None:
            if self.html.resolve() == self.hgrm.resolve():
                text = f"--hgrm {self.hgrm}: --html is written there"
                raise KeysteadError("KS-USE-003", text)

    def write(self, report: LoadReport, page: Callable[[], bytes] | None = None) -> None:
        """``page`` makes the page of the run that has more to tell than its load. KS-OUT-001 where
        that is refused."""
        from lab.local.stored.reports import write

        if self.html is not None:
            write(self.html, _alone(report) if page is None else page())
            say(f"written: {self.html}")
        if self.hgrm is not None:
            from chaos.load.histogram import decode_histogram, percentile_file

            write(self.hgrm, percentile_file(decode_histogram(report.items[-1].histogram)))
            say(f"written: {self.hgrm}")


def _alone(report: LoadReport) -> bytes:
    from lab.load.page import page

    return page(report).encode()


NO_FILES = LoadFiles()
