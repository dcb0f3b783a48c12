"""What is public in the four places that others build on says what it means."""

from __future__ import annotations

import pytest

from tests.tidy.documented import told_sources, undocumented
from tests.tidy.tree import Source

PATH = "chaos/plan.py"


def found(text: str, *known: str) -> list[str]:
    return undocumented([Source(PATH, text)], [Source("protocol/base.py", k) for k in known])


def test_what_is_read_is_what_others_build_on() -> None:
    folders = {source.path.split("/")[0] for source in told_sources()}
    assert folders == {"protocol", "services", "chaos", "lab"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("class Plan:\n    x = 1\n", "Plan"),
        ("def plan(): pass\n", "plan"),
        ("async def plan(): pass\n", "plan"),
        ('class Plan:\n    """It is."""\n    def of(self): pass\n', "Plan.of"),
        ('class Plan:\n    """It is."""\n    @property\n    def of(self): pass\n', "Plan.of"),
        ('class Plan:\n    """It is."""\n    class Row:\n        x = 1\n', "Plan.Row"),
        ('class Plan(Base):\n    """It is."""\n    def of(self): pass\n', "Plan.of"),
        ('class Base:\n    """It."""\n    def of(self): pass\n', "Base.of"),
    ],
)
def test_silence_is_found(text: str, name: str) -> None:
    silent_base = 'class Base:\n    """It is."""\n    def of(self): pass\n'
    assert [f.split(": ")[1] for f in found(text, silent_base)] == [f"{name} has no docstring"]


@pytest.mark.parametrize(
    "text",
    [
        "def _plan(): pass\n",
        "class _Plan:\n    def of(self): pass\n",
        "def plan():\n    'Says it.'\n    def inner(): pass\n",
        'class Plan:\n    """It is."""\n    def __len__(self): pass\n',
        'class Plan:\n    """It is."""\n    @of.setter\n    def of(self, to): pass\n',
        "@overload\ndef plan(): ...\n",
        'class Plan(Base[int]):\n    """It is."""\n    def of(self): pass\n',
        'class Plan(base.Near):\n    """It is."""\n    def of(self): pass\n',
    ],
)
def test_what_needs_none_is_let_pass(text: str) -> None:
    base = 'class Base(Generic[T]):\n    """It is."""\n    def of(self):\n        """Of what."""\n'
    near = "class Near(Base): pass\n"
    assert found(text, base, near) == []
