"""Planted bugs: each function of the modules here breaks one promise of the product.

Nothing calls them in normal use. A simulated lab calls one in its worker, an agent process of a
real lab before it builds its nodes (``Lab(patch="tests.mutations.bugs:no_eviction")``). Services
know nothing of them: they replace functions and methods from outside (``planting``). The first
line of each names the rule that it breaks; ``tests/mutations/table.py`` names the test that turns
red for it. That every bug still hits something is tested in the quick run (``test_planting``);
that it is noticed, in the slow one (``./keystead test --slow``).

To add a bug: a function in the module of its subject, and a line in the table with the test that
kills it. It is found by its name, which no other module may have: ``tests.mutations.bugs.NAME``.

``key_leaks`` breaks no single rule: it puts a key into every kind of place, for the scan of a
whole run.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

_BUG = re.compile(r"^def (\w+)\(\) -> None:$", re.MULTILINE)


def modules_of_bugs() -> dict[str, str]:
    """The module of each planted bug, by the bug's name."""
    found: dict[str, str] = {}
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        for bug in _BUG.findall(path.read_text("utf-8")):
            if bug in found:
                raise ImportError(f"two planted bugs are called {bug}: {found[bug]}, {path.stem}")
            found[bug] = path.stem
    return found


def __getattr__(name: str) -> Callable[[], None]:
    """The planted bug of that name; only the module that has it is imported."""
    module = modules_of_bugs().get(name)
    if module is None:
        raise AttributeError(f"there is no planted bug {name}")
    bug: Callable[[], None] = getattr(import_module(f"{__name__}.{module}"), name)
    return bug
