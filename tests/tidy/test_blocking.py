"""The supervisor's event loop waits for no file but its own."""

from __future__ import annotations

import pytest

from tests.tidy.blocking import TOUCHES, blocking, touched
from tests.tidy.test_imports import imported_by
from tests.tidy.tree import Source, package_sources


def _of_the_supervisor() -> list[Source]:
    modules = set(imported_by("import lab.supervise.supervisor"))
    return [
        source
        for source in package_sources()
        if source.path.startswith(("lab/", "chaos/"))
        and source.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") in modules
    ]


@pytest.mark.slow
def test_no_module_of_the_supervisor_touches_files_but_those_that_say_why() -> None:
    sources = _of_the_supervisor()
    assert len(sources) > 200
    assert blocking(sources) == []
    there = {source.path for source in sources if any(touched(source))}
    assert there == set(TOUCHES), "a module that touches no file needs no reason"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("data = Path(command.file).read_bytes()", True),
        ("with open(path) as file: pass", True),
        ("fd = os.open(path, os.O_RDONLY)", True),
        ("with Path(path).open('rb') as file: pass", True),
        ("key = private_key(read_file(path))", True),
        ("names = os.listdir(folder)", True),
        ("shutil.copy(a, b)", True),
        ("if path.exists(): pass", True),
        ("await connection.open(sink)", False),
        ("await lab.disk_file(node, path)", False),
        ("session.files.content(command.file)", False),
        ("text = name.replace('a', 'b')", False),
        ("os.getpid()", False),
    ],
)
def test_a_call_that_may_wait_for_a_file_is_found(code: str, found: bool) -> None:
    indented = f"async def handler(command):\n    {code}\n"
    assert bool(blocking([Source("lab/serve/new.py", indented)])) is found
    assert blocking([Source("lab/state/scratch.py", indented)]) == []
