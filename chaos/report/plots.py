"""Operations and hypotheses of a run, drawn over the same axis as its timeline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from chaos.history import Record
from chaos.report.axis import Axis, moment, span
from chaos.report.bands import bands
from chaos.report.latency import OperationSample, samples
from chaos.report.shapes import Dot, Picture, Rect, ShapeLine, Text, shorten
from chaos.report.story import Story
from chaos.report.timeline import LEFT, WIDTH, axis_of

MOST_DOTS: Final = 3000
"""Of more operations the slowest of each pixel is drawn, and each that did not end ok."""
_TOP, _HEIGHT = 8.0, 150.0
_ROW = 15.0
_FLOOR_S, _CEILING_S = 1e-3, 1.0  # what the scale has at least


def latency_plot(story: Story) -> Picture | None:
    """How long each operation took, on a scale of powers of ten; None when there was none.

    A dot is one that ended ok, a ring one whose end is not known, a cross one that failed.
    """
    taken = [sample for sample in samples(story.records) if sample.seconds is not None]
    if not taken:
        return None
    axis = axis_of(story.drawn)
    slowest = max(sample.seconds or 0.0 for sample in taken)
    decades = max(math.ceil(math.log10(max(slowest, _CEILING_S) / _FLOOR_S) - 1e-9), 1)
    picture = Picture(WIDTH, _TOP + _HEIGHT + 18.0, f"{len(taken)} operations by when they began")
    draw_faults(picture, axis, story, _TOP + _HEIGHT)
    for n in range(decades + 1):
        y = _TOP + _HEIGHT * (1 - n / decades)
        name = span(_FLOOR_S * 10**n)
        picture.add(
            ShapeLine(x=LEFT, y=y, x2=axis.right, y2=y, look="grid"),
            Text(
                x=LEFT - 6.0,
                y=y + 3.5,
                text=f"≤ {name}" if n == 0 else name,
                look="tick-end",
                anchor="end",
            ),
        )
    ops = sorted({sample.op for sample in taken})
    for sample in _thin_out(taken, axis):
        seconds = max(sample.seconds or 0.0, _FLOOR_S)
        part = math.log10(seconds / _FLOOR_S) / decades
        y = round(_TOP + _HEIGHT * (1 - part), 2)
        _dot(picture, axis.x(sample.t), y, sample, ops.index(sample.op))
    return picture


def _dot(picture: Picture, x: float, y: float, sample: OperationSample, number: int) -> None:
    tip = f"{sample.op} {sample.node}\n{sample.end} after {span(sample.seconds or 0.0)}"
    tip += f", begun at {moment(sample.t)}"
    href = f"#r{sample.seq}"
    if sample.end == "fail":
        picture.add(
            Text(x=x, y=y + 3.5, text="×", look="cross", anchor="middle", tip=tip, href=href)
        )
        return
    look = f"op-{number % 6}" if sample.end == "ok" else "ring"
    picture.add(Dot(x=x, y=y, r=2.4, look=look, tip=tip, href=href))


def _thin_out(taken: Sequence[OperationSample], axis: Axis) -> list[OperationSample]:
    if len(taken) <= MOST_DOTS:
        return list(taken)
    kept: dict[tuple[str, int], OperationSample] = {}
    for sample in taken:
        key = (sample.op, int(axis.x(sample.t)))
        if key not in kept or (sample.seconds or 0.0) > (kept[key].seconds or 0.0):
            kept[key] = sample
    slow = set(map(id, kept.values()))
    return [sample for sample in taken if id(sample) in slow or sample.end != "ok"]


def draw_faults(picture: Picture, axis: Axis, story: Story, bottom: float) -> None:
    """Faults as bands, and round moments below."""
    for band in bands(story.records):
        if not band.error:
            end = axis.right if band.ended is None else axis.x(band.ended)
            x = axis.x(band.began)
            picture.add(Rect(x=x, y=_TOP, w=round(end - x, 2), h=bottom - _TOP, look="band"))
    for t, name in axis.ticks():
        x = axis.x(t)
        picture.add(
            ShapeLine(x=x, y=_TOP, x2=x, y2=bottom, look="grid"),
            Text(x=x, y=bottom + 13.0, text=name, look="tick", anchor="middle"),
        )


def hypotheses_plot(story: Story) -> Picture | None:
    """A row for each probe and phase: a dot where it held, a cross where it did not; None when
    nothing was measured."""
    found: dict[str, list[Record]] = {}
    for record in story.records:
        if record.type == "probe":
            found.setdefault(f"{record.data.get('when', '')} {record.op}", []).append(record)
    if not found:
        return None
    axis = axis_of(story.drawn)
    bottom = _TOP + _ROW * len(found)
    picture = Picture(WIDTH, bottom + 18.0, "measurements of the hypotheses over the run")
    draw_faults(picture, axis, story, bottom)
    for row, (name, records) in enumerate(found.items()):
        y = _TOP + _ROW * (row + 0.5)
        picture.add(
            Text(x=4.0, y=y + 3.5, text=shorten(name, LEFT - 12.0), look="vm-name", tip=name)
        )
        for record in records:
            _draw_measurement(picture, axis.x(record.t), y, name, record)
    return picture


def _draw_measurement(picture: Picture, x: float, y: float, name: str, record: Record) -> None:
    data, href = record.data, f"#r{record.seq}"
    tip = f"{name} at {moment(record.t)}: {data.get('value')}\n{data.get('detail', '')}"
    if data.get("holds"):
        picture.add(Dot(x=x, y=y, r=2.6, look="holds", tip=tip, href=href))
    else:
        picture.add(
            Text(x=x, y=y + 4.0, text="×", look="cross", anchor="middle", tip=tip, href=href)
        )
