"""Each house rule refuses a file that breaks it; that the tree keeps them is in ``test_tree``."""

from __future__ import annotations

import pytest

from tests.tidy.around_ports import ways_around
from tests.tidy.assumed_rows import assumes_a_row
from tests.tidy.dangling import leads_nowhere
from tests.tidy.rules import (
    Rule,
    file_is_short,
    finalisers_close_nothing,
    functions_are_short,
    lines_are_narrow,
    module_says_what_it_is,
    named_for_a_noun,
    numbers_are_given_once,
    package_is_mapped,
    starts_at_the_end,
    words_belong_here,
)
from tests.tidy.tree import PACKAGES, Source, package_sources, sources

DOC = '"""What it is."""\n'
SERVICE, RUNTIME = "services/kms/operations/core.py", "services/runtime/bus.py"


def test_the_tree_was_read() -> None:
    paths = [source.path for source in sources()]
    assert {"keystead", ".ci/run", "pyproject.toml", "requirements.lock"} <= set(paths)
    assert {path.split("/")[0] for path in paths} >= {*PACKAGES, "tests"}
    assert len(package_sources()) > 100
    assert not [path for path in paths if "__pycache__" in path or path.startswith(".venv")]


def _at_the_root(package: str, paths: list[str]) -> list[str]:
    """The modules that lie in ``package`` itself, in no room of it."""
    names = [path.removeprefix(f"{package}/") for path in paths if path.startswith(f"{package}/")]
    return sorted(n for n in names if "/" not in n and n.endswith(".py") and n != "__init__.py")


def test_what_is_of_the_lab_lies_in_a_room_of_it() -> None:
    """At its root are Python's way in and what both kinds of lab share."""
    root = _at_the_root("lab", [source.path for source in package_sources()])
    assert root == ["client.py", "core.py"]
    assert _at_the_root("lab", ["lab/x.py", "lab/serve/y.py", "lab/__init__.py"]) == ["x.py"]


def test_tree_without_git_is_walked_to_the_same_packages() -> None:
    from tests.tidy import tree

    walked = set(tree._walked())
    assert {source.path for source in sources()} <= walked
    assert not [
        path
        for path in walked
        if path.startswith((".venv", ".git/")) or "/." in path.replace("/.github/", "/")
    ]


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (file_is_short, "lab/long.py", DOC + "x = 1\n" * 700),
        (file_is_short, "tests/lab/test_long.py", DOC + "x = 1\n" * 700),
        (file_is_short, "keystead", "#!/bin/sh\n" * 701),
        (lines_are_narrow, "lab/wide.py", DOC + "# " + "w" * 99),
        (lines_are_narrow, ".ci/run", "#!/bin/sh\n" + "w" * 101),
        (functions_are_short, "lab/deep.py", "def deep() -> None:\n" + "    x = 1\n" * 60),
        (functions_are_short, "lab/deep.py", "async def deep() -> None:\n" + "    x = 1\n" * 60),
        (functions_are_short, "lab/deep.py", "class A:\n  def deep():\n" + "    x = 1\n" * 60),
        (
            starts_at_the_end,
            "lab/supervise/supervisor.py",
            'if __name__ == "__main__":\n    main()\n\n\ndef main() -> None: ...\n',
        ),
        (named_for_a_noun, "services/kms/utils.py", DOC),
        (named_for_a_noun, "lab/common/paths.py", DOC),
        (named_for_a_noun, "tests/lab/helpers.py", DOC),
        (module_says_what_it_is, "lab/silent.py", "x = 1\n"),
        (module_says_what_it_is, "tests/lab/test_silent.py", "# a comment is no docstring\n"),
        (package_is_mapped, "lab/cli/__init__.py", DOC),
        (package_is_mapped, "services/kms/__init__.py", '"""``core`` and ``service`` only."""'),
        (
            finalisers_close_nothing,
            "tests/services/kms/memory.py",
            "class A:\n  def __del__(self):\n    self.close()\n",
        ),
        (
            finalisers_close_nothing,
            "lab/core.py",
            "class A:\n  def __del__(self):\n    if self.fd:\n      os.close(self.fd)\n",
        ),
        (
            finalisers_close_nothing,
            "services/kms/commit/store.py",
            "weakref.finalize(self, self.connection.close)\n",
        ),
        (
            numbers_are_given_once,
            "lab/cli/watch/scene.py",
            "class Level(IntEnum):\n  BAD = 0\n  IDLE = 3\n  GOOD = 3\n",
        ),
        (words_belong_here, "README.md", "from https://" + "pypi" + ".org/simple"),
        (words_belong_here, "requirements.lock", "# files.python" + "hosted.org"),
        (words_belong_here, "lab/core.py", 'HOME = "/ro' + 'ot/labs"'),
        (words_belong_here, "lab/core.py", "# see ../sha" + "red/design/chaos.md"),
        (words_belong_here, "lab/core.py", "# as issu" + "e 2 asks"),
        (words_belong_here, "lab/core.py", "# fixes #" + "12"),
        (words_belong_here, "lab/core.py", "# TO" + "DO: later"),
        (leads_nowhere, "lab/core.py", "# ordered at once (architec" + "ture 4)"),
        (leads_nowhere, "lab/core.py", "# as behav" + "iour sec" + "tion 15 has it"),
        (leads_nowhere, "lab/core.py", "# the port's options: nats" + ".md 9.2"),
        (leads_nowhere, "lab/core.py", "# the alarms (11" + ".2)"),
        (leads_nowhere, "README.md", "(2" + ".3)"),
        (leads_nowhere, "lab/core.py", "# until it is cleared (2" + ".3 B8, R21)"),
        (leads_nowhere, "lab/core.py", "# a safe host, as 2" + ".4 says"),
        (leads_nowhere, "tests/lab/test_core.py", '    """3' + '.3: at the next check."""'),
        (leads_nowhere, "lab/core.py", "# stories of 11" + ".4: in order"),
        (leads_nowhere, "lab/core.py", "# at most 32 # sec" + "tion 13"),
        (leads_nowhere, "lab/core.py", "# noDA, see tp" + "m.md"),
        (
            leads_nowhere,
            "tests/lab/test_core.py",
            '"""What is refused; nats' + '.md has the list."""',
        ),
        (leads_nowhere, "lab/core.py", "# the marker alone (cel" + "ls 1.2)"),
        (assumes_a_row, "services/vcenter/x.py", "f = lambda: self._inventory.providers[name]"),
        (assumes_a_row, "services/vcenter/tasks/x.py", "kind = vc.inventory.hosts[name].cluster"),
        (assumes_a_row, "services/vcenter/key_use.py", "row = inventory.vms[name]"),
        (leads_nowhere, "lab/core.py", "# as in block TT" + "-S10"),
        (leads_nowhere, "tests/lab/test_core.py", "# negative control M" + "14"),
    ],
)
def test_a_rule_refuses(rule: Rule, path: str, text: str) -> None:
    assert rule(Source(path, text))


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (file_is_short, "lab/full.py", "x = 1\n" * 700),
        (file_is_short, "tests/lab/test_full.py", "x = 1\n" * 700),
        (file_is_short, "requirements.lock", "x\n" * 2000),
        (lines_are_narrow, "lab/full.py", "# " + "w" * 98),
        (functions_are_short, "lab/full.py", "def full() -> None:\n" + "    x = 1\n" * 59),
        (lines_are_narrow, "lab/told.py", "x = 1  # " + "w" * 91 + "  # noqa: E501"),
        (named_for_a_noun, "lab/commonality.py", DOC),
        (package_is_mapped, "lab/core.py", DOC),
        (package_is_mapped, "lab/topology/shipped/__init__.py", '"""One file per lab."""'),
        (assumes_a_row, "services/vcenter/x.py", "row = vc.inventory.providers.get(name)"),
        (assumes_a_row, "services/vcenter/x.py", "row = vc.inventory.clusters[row.cluster]"),
        (assumes_a_row, "services/vcenter/x.py", "users.hosts[0], page.vms[-1]"),
        (assumes_a_row, "services/vcenter/inventory.py", "return self.inventory.hosts[name]"),
        (
            finalisers_close_nothing,
            "tests/lab/test_loud.py",
            "class A:\n  def __del__(self):\n    said.append('gone')\n",
        ),
        (
            finalisers_close_nothing,
            "services/runtime/sim/database.py",
            "weakref.finalize(self, self.connection.close)\n",
        ),
        (leads_nowhere, "lab/core.py", "# KMIP 1.4 section 3.22; docs/rules.md; TPM 2.0"),
        (leads_nowhere, "lab/core.py", "await clock.sleep(1.5)\nwait (2 s)"),
        (leads_nowhere, "README.md", "[ARCHITECTURE.md](ARCHITECTURE.md) names 3 files"),
        (words_belong_here, "lab/core.py", "colour = '#336699'  # an issuer; see RFC 5649"),
    ],
)
def test_a_rule_lets_pass(rule: Rule, path: str, text: str) -> None:
    assert not rule(Source(path, text))


@pytest.mark.parametrize(
    "line",
    [
        "import time",
        "import concurrent.futures",
        "from nats.aio.client import Client",
        "from os import urandom",
        "import os\nos.urandom(16)",
        "import os\nos.environ['HOME']",
        "from os import path",
        "import os.path",
        "from pathlib import Path",
        "import pathlib\npathlib.Path('x')",
        "open('x')",
        "print('x')",
        "path.write_text('x')",
        "path.read_bytes()",
        "path.mkdir()",
        "import asyncio\nasyncio.sleep(1)",
        "import asyncio\nasyncio.gather()",
        "import asyncio\nasyncio.open_connection('x', 1)",
        "from asyncio import create_task",
        "import asyncio\nasyncio.get_running_loop()",
        "task.add_done_callback(done)",
        "loop.call_later(1, done)",
        "loop.create_task(work)",
        "loop.run_in_executor(None, work)",
        "from datetime import datetime\ndatetime.now()",
        "import uuid\nuuid.uuid4()",
        "import sqlite3\nsqlite3.connect('x')",
        "key = id(thing)",
        "key = hash(thing)",
        "for name in {1, 2}: pass",
        "for name in set(names): pass",
        "found = [n for n in frozenset(names)]",
        "first = list(set(names) & others)",
    ],
)
def test_a_service_does_not_reach_around_its_ports(line: str) -> None:
    assert ways_around(Source(SERVICE, DOC + line))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (SERVICE, "import asyncio\nasync def f():\n  async with asyncio.timeout(1): pass"),
        (SERVICE, "from asyncio import Event, Lock"),
        (SERVICE, "import sqlite3\ndef f(c: sqlite3.Connection): c.execute('SELECT 1')"),
        (SERVICE, "for name in sorted({1, 2}): pass"),
        (SERVICE, "found = name in {1, 2}"),
        (SERVICE, "group.create_task(work)"),
        (RUNTIME, "import asyncio\nasyncio.get_running_loop()"),
        ("services/runtime/real/clock_and_rng.py", "import time\ntime.monotonic()"),
        ("lab/state/state_folder.py", "open('x')"),
    ],
)
def test_what_is_allowed_is_let_pass(path: str, line: str) -> None:
    assert not ways_around(Source(path, DOC + line))


def test_the_runtime_may_ask_for_the_loop_and_not_for_its_timers() -> None:
    assert ways_around(
        Source(RUNTIME, DOC + "import asyncio\nasyncio.get_running_loop().call_at(1, f)")
    )
