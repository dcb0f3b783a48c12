"""The tree keeps every rule that reads syntax trees.

One test, since the trees of two thousand files take fifteen seconds to make and three hundred
megabytes to keep: they are made once, by one process, and given back.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.tidy import tree
from tests.tidy.around_ports import ways_around
from tests.tidy.assumed_rows import assumes_a_row
from tests.tidy.circles import circles, imports_of_packages
from tests.tidy.dangling import leads_nowhere
from tests.tidy.documented import told_sources, undocumented
from tests.tidy.rules import RULES
from tests.tidy.tree import python_sources, sources


@pytest.fixture(autouse=True)
def _given_back() -> Iterator[None]:
    gc.disable()  # it would look through millions of nodes again and again
    yield
    tree.parsed.cache_clear()
    gc.enable()


@pytest.mark.timeout(300)
def test_the_tree_keeps_every_rule() -> None:
    found = [
        f"{rule.__name__}: {finding}"
        for rule in (*RULES, ways_around, leads_nowhere, assumes_a_row)
        for source in sources()
        for finding in rule(source)
    ]
    found += [f"undocumented: {name}" for name in undocumented(told_sources(), python_sources())]
    imports = imports_of_packages()
    assert len(imports) > 100
    found += [f"imported in a circle: {circle}" for circle in circles(imports)]
    assert not found, "\n".join(found)
