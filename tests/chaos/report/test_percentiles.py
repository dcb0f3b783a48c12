"""Latencies in the percentile text of HdrHistogram, read as its plotters read it: a head, rows of
value, percentile, count so far and 1/(1-percentile), and three lines of comment."""

from __future__ import annotations

import re

from chaos.report.latency import percentile_files, samples
from chaos.report.phases import RunPhase
from tests.chaos.report.tales import Tale

ROW = re.compile(r" *(\d+\.\d{3}) +([01]\.\d{12}) +(\d+)(?: +(\d+\.\d\d))?")
TOLD = re.compile(r"#\[(\w+) += +([\d.]+), (\w+) += +([\d.]+)\]")


def run() -> dict[tuple[str, RunPhase], str]:
    tale = Tale()
    for n in range(1, 101):
        tale.operation(0.1 * n, "key.create", 0.001 * n, n)
    tale.operation(11.0, "key.create", 0.5, 200, "fail")
    tale.fault(12.0, "wan")
    tale.operation(13.0, "key.create", 2.0, 300)
    tale.operation(14.0, "vm.encrypt", None, 400)
    tale.records.sort(key=lambda record: record.t)
    return {key: text.decode() for key, text in percentile_files(samples(tale.records)).items()}


def rows(text: str) -> list[tuple[float, float, int, float | None]]:
    head, empty, *lines = text.splitlines()
    assert head.split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"] and not empty
    found = [ROW.fullmatch(line) for line in lines[:-3]]
    return [
        (float(m[1]), float(m[2]), int(m[3]), float(m[4]) if m[4] else None)
        for m in found
        if m is not None
    ]


def test_there_is_a_text_for_each_operation_and_phase_that_had_an_answer() -> None:
    assert list(run()) == [("key.create", RunPhase.BEFORE), ("key.create", RunPhase.FAULT)]


def test_rows_rise_to_all_operations_and_the_last_has_no_inverse() -> None:
    text = run()["key.create", RunPhase.BEFORE]
    found = rows(text)
    assert len(found) == len(text.splitlines()) - 5, "every line is a row of the format"
    for column in (0, 1, 2):
        values = [row[column] for row in found]
        assert values == sorted(values)  # type: ignore[type-var]
    *some, last = found
    assert last[1:] == (1.0, 100, None)
    assert all(row[3] is not None for row in some)
    assert all(abs(row[3] - 1 / (1 - row[1])) < 0.01 * row[3] for row in some if row[3])


def test_values_are_microseconds_within_a_thousandth() -> None:
    text = run()["key.create", RunPhase.BEFORE]
    for value, part, count, _ in rows(text):
        assert abs(value - 1000 * count) <= max(1.0, value / 1000), "the n-th took n ms"
        assert count >= 100 * part - 1e-6
    told = {name: float(value) for m in TOLD.findall(text) for name, value in (m[:2], m[2:])}
    assert abs(told["Mean"] - 50_500) <= 60 and abs(told["StdDeviation"] - 28_866) <= 60
    assert abs(told["Max"] - 100_000) <= 100 and told["TotalCount"] == 100
