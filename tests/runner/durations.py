"""How long tests took: measured by every run, kept in pytest's cache.

A clone has no cache. ``durations.json`` beside this file has the number of tests and the seconds of
each module that takes four seconds or more; ``python -m tests.runner.durations`` renews it from the
cache of this checkout.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from tests.runner.units import module_of

ROOT = Path(__file__).resolve().parents[2]
STORED = Path(__file__).with_name("durations.json")
CACHE_KEY = "keystead/durations"
_LISTED_S = 4.0

Sums = dict[str, tuple[int, float]]
"""Number of tests and their seconds, by module."""


def sums_of(measured: dict[str, float]) -> Sums:
    found: dict[str, list[float]] = defaultdict(list)
    for test, seconds in measured.items():
        found[module_of(test)].append(seconds)
    return {name: (len(all_), sum(all_)) for name, all_ in found.items()}


def stored(path: Path = STORED) -> Sums:
    """What the checkout brings along."""
    if not path.exists():
        return {}
    return {
        name: (count, seconds) for name, (count, seconds) in json.loads(path.read_text()).items()
    }


class Durations:
    """Seconds by test id."""

    def __init__(self, measured: dict[str, float], stored: Sums) -> None:
        self.measured = measured
        means = stored | sums_of(measured)
        self._means = {name: seconds / count for name, (count, seconds) in means.items()}

    def expected(self, test: str) -> float | None:
        """Of a test that is new here, the mean of its module; None when there is none."""
        return self.measured.get(test, self._means.get(module_of(test)))

    def renewed(self, run: dict[str, float], root: Path) -> dict[str, float]:
        """With what a run has measured, without modules that are gone."""
        kept = self.measured | run
        there = {name for name in map(module_of, kept) if (root / name).exists()}
        return {test: round(s, 3) for test, s in kept.items() if module_of(test) in there}


def main() -> None:
    cache = ROOT / ".pytest_cache" / "v" / CACHE_KEY
    sums = sums_of(json.loads(cache.read_text()))
    lines = [
        f"{json.dumps(name)}: [{count}, {seconds:.1f}]"
        for name, (count, seconds) in sorted(sums.items())
        if seconds >= _LISTED_S
    ]
    STORED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
