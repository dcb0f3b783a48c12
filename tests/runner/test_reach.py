"""After a change those tests run that use what was changed, and the new ones."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.runner.suites import ROOT, Suite

FILES = {
    "lab/__init__.py": "",
    "lab/limits.py": "LIMIT = 3\n",
    "lab/product.py": '''
        """A product."""
        import functools, pathlib
        from lab import limits
        TWICE = 2 * limits.LIMIT
        HERE = pathlib.Path(__file__).parent

        def one():
            """Says one."""
            return 1

        def two():
            return other() + TWICE

        def other():
            return 2

        class Shape:
            def area(self):
                return [side for side in (1, 2)]
    ''',
    "lab/kept.py": '''
        """Keeps what it has read."""
        import functools, pathlib
        HERE = pathlib.Path(__file__).parent
        ROWS = (HERE / "rows.txt").read_text()

        @functools.cache
        def table():
            return parsed((HERE / "table.txt").read_text())

        def parsed(text):
            return text.split()
    ''',
    "lab/rows.txt": "a row",
    "lab/table.txt": "a table",
    "page.txt": "a page",
    "pages/first.txt": "the first",
    "unseen.txt": "nobody reads it",
    ".gitignore": "__pycache__\n.pytest_cache\n",
    "tests/conftest.py": """
        import pytest
        from lab import product

        @pytest.fixture(scope="session")
        def shape(): return product.Shape().area()
    """,
    "tests/test_product.py": """
        import pathlib, subprocess, sys
        from lab import product

        HERE = pathlib.Path(__file__).parents[1]

        def test_one(): assert product.one() == 1
        def test_two(): assert product.two() == 8
        def test_page(): assert (HERE / "page.txt").read_text()
        def test_pages(): assert len([*HERE.joinpath("pages").iterdir()]) >= 0
        def test_in_another_process():
            program = "from lab import product; product.one()"
            subprocess.run([sys.executable, "-c", program], check=True, cwd=HERE)
    """,
    "tests/test_kept.py": """
        from lab import kept

        def test_first(): assert kept.table()
        def test_second(): assert kept.table()
    """,
    "tests/test_shapes.py": """
        def test_shape(shape): assert shape == [1, 2]
        def test_none(): pass
    """,
    "tests/test_red.py": "def test_red(): assert False\n",
}
PRODUCT = {"one", "two", "page", "pages", "in_another_process"}
KEPT = {"first", "second"}
ALL = {*PRODUCT, *KEPT, "shape", "none"}
SELECT = """
import json, pathlib, sys
from tests.runner import reach

known = reach.read(pathlib.Path(sys.argv[1]))
chosen = reach.selection(known)
print(json.dumps([chosen.everything, [test for test in known.tests if chosen.wants(test)]]))
"""


class Project:
    """A checkout of its own: a product, its tests, and this runner."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self) -> None:
        for part in ("runner", "reached"):
            ignored = shutil.ignore_patterns("__pycache__", "test_*", "*.json")
            shutil.copytree(ROOT / "tests" / part, self.folder / "tests" / part, ignore=ignored)
        for path, text in FILES.items():
            self.write(path, text)
        subprocess.run(["git", "init", "-q"], cwd=self.folder, check=True)

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(dedent(text))

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.folder / path).read_text()
        assert old in text
        (self.folder / path).write_text(text.replace(old, new))

    def run(self, *arguments: str) -> tuple[set[str], set[str]]:
        """The tests that passed, and those that failed."""
        site = self.folder / "tests" / "reached" / "site"
        ended = Suite(self.folder).run("--workers", "1", *arguments, path=(self.folder, site))
        return ended.named("PASSED"), ended.named("FAILED")

    def select(self) -> tuple[str, set[str]]:
        """Why all tests of the map are to run, if so, and which of them are."""
        place = self.folder / ".pytest_cache" / "d" / "keystead-reach" / "reach.map"
        done = subprocess.run(
            [sys.executable, "-c", SELECT, str(place)],
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        why, tests = json.loads(done.stdout)
        return why, {test.partition("::test_")[2] for test in tests}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One that has a map."""
    made = Project(tmp_path_factory.mktemp("project"))
    made.make()
    assert made.run("--map") == ({f"test_{name}" for name in ALL}, {"test_red"})
    return made


@pytest.fixture
def copied(project: Project, tmp_path: Path) -> Project:
    shutil.copytree(project.folder, tmp_path, dirs_exist_ok=True)
    return Project(tmp_path)


@pytest.mark.parametrize(
    ("path", "old", "new", "ran"),
    [
        pytest.param("lab/product.py", "Says one.", "Says 1.", set(), id="docstring"),
        pytest.param(
            "lab/product.py", "return 1\n", "return 0\n", {"one", "in_another_process"}, id="one"
        ),
        pytest.param("lab/product.py", "return 2\n", "return 1 + 1\n", {"two"}, id="called"),
        pytest.param("lab/product.py", "2 * ", "4 * ", PRODUCT, id="constant"),
        pytest.param("lab/limits.py", "3", "4", PRODUCT, id="constant of a constant"),
        pytest.param("page.txt", "page", "text", {"page"}, id="file"),
        pytest.param("lab/rows.txt", "row", "line", KEPT, id="file that a module has read"),
        pytest.param("lab/table.txt", "table", "list", KEPT, id="file that is kept"),
        pytest.param("lab/kept.py", "split()", "split(None)", KEPT, id="what a result rests on"),
        pytest.param("tests/test_product.py", "== 1", "> 0", PRODUCT, id="test module"),
    ],
)
def test_tests_that_use_a_change_are_selected(
    copied: Project, path: str, old: str, new: str, ran: set[str]
) -> None:
    copied.edit(path, old, new)
    assert copied.select() == ("", ran)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        pytest.param("tests/conftest.py", "tests/conftest.py has changed", id="conftest"),
        pytest.param("requirements.lock", "requirements.lock has changed", id="lock"),
        pytest.param("unseen.txt", "it is not known which tests use unseen.txt", id="unseen"),
        pytest.param("new/file.txt", "it is not known which tests use new/file.txt", id="new"),
    ],
)
def test_all_are_selected_where_it_is_not_known_who_uses_a_change(
    copied: Project, path: str, told: str
) -> None:
    copied.write(path, "# changed")
    assert copied.select() == (told, ALL)


def test_all_are_selected_when_a_fixture_of_the_session_uses_a_change(copied: Project) -> None:
    copied.edit("lab/product.py", "(1, 2)]", "[1, 2]]")
    why, tests = copied.select()
    assert "lab/product.py::Shape.area" in why and tests == ALL


def test_tests_that_list_its_folder_are_selected_for_a_file_that_comes_or_goes(
    copied: Project,
) -> None:
    copied.write("pages/second.txt", "the second")
    assert copied.select() == ("", {"pages"})
    (copied.folder / "pages" / "second.txt").unlink()
    assert copied.select() == ("", set())
    (copied.folder / "page.txt").unlink()
    assert copied.select() == ("", {"page"})
    (copied.folder / "lab" / "kept.py").unlink()
    assert copied.select() == ("", {"page", *KEPT})


def test_selected_new_and_failed_tests_run(copied: Project) -> None:
    copied.write("tests/test_more.py", "def test_new(): pass\n")
    copied.edit("page.txt", "page", "text")
    assert copied.run("--changed") == ({"test_new", "test_page"}, {"test_red"})


def test_without_a_map_it_says_how_to_make_one(tmp_path: Path) -> None:
    suite = Suite(tmp_path, test_a="def test_it(): pass")
    ended = suite.run("--changed")
    assert ended.code == pytest.ExitCode.USAGE_ERROR
    assert "`./keystead test --map`" in ended.out
