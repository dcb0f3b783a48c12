"""``chaos tap``: what was said on the bus of a stored run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter

from lab.cli.asked import Format
from lab.cli.names import RunName
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import json_line, plain, say
from lab.cli.values import duration

if TYPE_CHECKING:
    from chaos.conversation import Said


def tap(
    run: RunName,
    *,
    node: Annotated[str, Parameter(help="Only messages of this node, sent or received.")] = "",
    message: Annotated[str, Parameter(help="Only requests of this name, with their replies.")] = "",
    after: Annotated[str, Parameter(help="Only from this time of the run on, such as 90s.")] = "",
    until: Annotated[str, Parameter(help="Only up to this time of the run.")] = "",
    otlp: Annotated[
        str,
        Parameter(help="Send a span for each request to this OpenTelemetry collector (HTTP)."),
    ] = "",
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Print the bus messages of a stored run; binary data is shown as fingerprints.

    keystead chaos tap edge-outage-reboot-sim-4711 --node esxi-001 --after 90s
    keystead chaos tap RUN --message AddKeys -o json
    keystead chaos tap RUN --otlp http://127.0.0.1:4318
    """
    from lab.local.stored.conversation import MessageFilter, read_conversation

    wanted = MessageFilter(
        node=node,
        message=message,
        after_s=duration("--after", after),
        until_s=duration("--until", until) if until else float("inf"),
    )
    said = read_conversation(run, wanted)
    if otlp:
        from lab.local.stored.spans import send_spans

        say(f"{send_spans(run, _whole(said), otlp)} requests are sent as spans")
        return
    for one in _whole(said):
        match options.output:
            case Format.JSON | Format.YAML:
                json_line(one)
            case Format.NAME:
                plain(one.name)
            case Format.WIDE:
                plain(line(one))
            case _:
                plain(line(one, SHOWN))


def _whole(said: Iterator[Any]) -> Iterator[Said]:
    """The messages; what is missing among them is told on stderr."""
    from chaos.conversation import ConversationEnd

    for one in said:
        if not isinstance(one, ConversationEnd):
            yield one
            continue
        if one.dropped:
            say(f"the recording was full: its last {one.dropped} messages are missing")
        if one.gaps:
            say(f"the recorder lost its link {one.gaps} times: messages of these times are missing")


SHOWN = 100  # characters of a message's fields; -o wide has them all
ARROWS = {"request": "->", "reply": "=>", "error": "=!", "event": "))", "wrong": "??"}


def line(one: Said, most: int | None = None) -> str:
    """One message in one line: time, sender, receiver, content of at most ``most`` characters."""
    boxes = f"  sealed {' '.join(one.boxes)}" if one.boxes else ""
    what = one.wrong or (msgspec.json.encode(one.body).decode() if one.body else "")
    body = what if most is None or len(what) <= most else f"{what[:most]}…"
    number = f" #{one.id}" if one.id else ""
    cause = f"  for {one.cause}" if one.cause else ""
    where = f"{one.src} {ARROWS[one.kind]} {one.dst or 'all'}"
    return f"{one.t:12.6f}  {where}  {one.name}{number}  {body}{boxes}{cause}".rstrip()
