"""``events``: vCenter's event log. ``logs``: the logs of the nodes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from lab.cli.arguments import duration
from lab.cli.invocation import Format
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import is_document, json_line, plain, say, table
from lab.cli.streams import flush
from lab.schema.errors import KeysteadError
from lab.schema.tables import field, moment, text
from lab.state.state_folder import LabFolder
from protocol.printable import one_line

if TYPE_CHECKING:
    from lab.schema.answers import LoggedEvent, LogLine

LOOK_EVERY_S = 0.3  # real seconds between two looks of --follow
COLUMNS = (
    field("sequence", "NO"),
    ("TIME", lambda r: moment(r.at)),
    field("event"),
    ("ABOUT", lambda r: r.vm or r.host or r.provider),
    field("text"),
)
Follow = Annotated[
    bool, Parameter(name=["--follow", "-f"], negative="", help="Follow: keep printing new entries.")
]


def events(
    *,
    follow: Follow = False,
    after: Annotated[int, Parameter(help="Only events with a number above this one.")] = 0,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Show vCenter's event log, with the event ids of the product.

    keystead events
    keystead events -f --after 120 -o json

    With -o json there is one line per event.
    """
    asyncio.run(_events(options, follow, after))


async def _events(options: LabOptions, follow: bool, after: int) -> None:
    from lab.local.remote import Remote
    from lab.serve.waiting import all_events, follow_events

    async with Remote(LabFolder(options.name), options.vcenter) as lab:
        if not follow:
            _show_events(await all_events(lab.do, after), options, follow)
            return

        async def pause() -> None:
            await asyncio.sleep(LOOK_EVERY_S)

        def away(error: KeysteadError) -> None:
            say(f"vCenter does not answer ({error}); retrying")

        async for items in follow_events(lab.do, pause, away, after):
            _show_events(items, options, follow)


def _show_events(items: Sequence[LoggedEvent], options: LabOptions, follow: bool) -> None:
    match options.output:
        case Format.JSON | Format.YAML:
            for item in items:
                json_line(item)
        case Format.NAME:
            for item in items:
                plain(item.event)
        case _ if follow:
            for item in items:
                plain(one_line("  ".join(text(value(item)) for _, value in COLUMNS)))
        case _:
            table(COLUMNS, items)
    flush()


def logs(
    *nodes: str,
    follow: Follow = False,
    level: Annotated[
        Literal["debug", "info", "warning", "error"], Parameter(help="Lowest level to show.")
    ] = "info",
    since: Annotated[
        str, Parameter(help="Only entries of this last period of lab time: 30s, 5m.")
    ] = "",
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Show the logs of nodes, merged by lab time; also works for a stopped or killed lab.

    keystead logs --level warning
    keystead logs -f vcenter esxi-001 --since 5m
    """
    from lab.local.logs import LogsOfLab

    reader = LogsOfLab(options.name, nodes, level)
    found = reader.read(duration("--since", since))
    _show_lines(found, options)
    if reader.unreadable:
        say(f"{reader.unreadable} lines could not be read")
    if not found and not follow:
        say(f"nothing to show; logs are in {reader.folder}")
    while follow:
        time.sleep(LOOK_EVERY_S)
        _show_lines(reader.read(), options)
        if not reader.grows:
            say(f"the lab {options.name} is not running any more")
            return


def _show_lines(lines: Sequence[LogLine], options: LabOptions) -> None:
    for line in lines:
        if is_document(options.output):
            json_line(line)
            continue
        more = " ".join(f"{k}={text(v)}" for k, v in line.fields.items())
        told = f"{line.at:12.3f} {line.level:7} {line.node:10} {line.what} {more}"
        plain(one_line(told.rstrip()))
    flush()
