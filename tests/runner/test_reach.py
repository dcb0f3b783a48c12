"""After a change those tests run that use what was changed, and the new ones."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest

from tests.runner.suites import ROOT, Suite

PRODUCT = '''
    """A product."""
    LIMIT = 3

    def one():
        """Says one."""
        return 1

    def two():
        return other() + LIMIT

    def other():
        return 2

    class Shape:
        def area(self):
            return [side for side in (1, 2)]
'''
TESTS = """
    import pathlib, subprocess, sys
    from lab import product

    HERE = pathlib.Path(__file__).parents[1]

    def test_one(): assert product.one() == 1
    def test_two(): assert product.two() == 5
    def test_area(): assert product.Shape().area() == [1, 2]
    def test_page(): assert (HERE / "page.txt").read_text()
    def test_pages(): assert len([*HERE.joinpath("pages").iterdir()]) >= 0
    def test_in_another_process():
        program = "from lab import product; product.one()"
        subprocess.run([sys.executable, "-c", program], check=True, cwd=HERE)
"""
ALL = {f"test_{name}" for name in "one two area page pages in_another_process".split()}


class Project:
    """A checkout of its own: a product, its tests, and this runner."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in ("runner", "reached"):
            ignored = shutil.ignore_patterns("__pycache__", "test_*", "*.json")
            shutil.copytree(ROOT / "tests" / part, folder / "tests" / part, ignore=ignored)
        self.write("lab/__init__.py", "")
        self.write("lab/product.py", PRODUCT)
        self.write("tests/test_product.py", TESTS)
        self.write("page.txt", "a page")
        self.write("pages/first.txt", "the first")
        self.write(".gitignore", "__pycache__\n.pytest_cache\n")
        self.suite = Suite(folder)
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(dedent(text))

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.folder / path).read_text()
        assert old in text
        (self.folder / path).write_text(text.replace(old, new))

    def run(self, *arguments: str) -> set[str]:
        """The tests that passed; none may fail."""
        site = self.folder / "tests" / "reached" / "site"
        ended = self.suite.run("--workers", "1", *arguments, path=(self.folder, site))
        assert ended.code in (0, pytest.ExitCode.NO_TESTS_COLLECTED), ended.out
        return ended.named("PASSED")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One that has a map."""
    made = Project(tmp_path_factory.mktemp("project"))
    assert made.run("--map") == ALL
    return made


@pytest.fixture
def copied(project: Project, tmp_path: Path) -> Project:
    shutil.copytree(project.folder, tmp_path, dirs_exist_ok=True)
    made = Project.__new__(Project)
    made.folder, made.suite = tmp_path, Suite(tmp_path)
    return made


@pytest.mark.parametrize(
    ("path", "old", "new", "ran"),
    [
        pytest.param("lab/product.py", "Says one.", "Says 1.", set(), id="docstring"),
        pytest.param(
            "lab/product.py",
            "return 1\n",
            "return 2 - 1\n",
            {"one", "in_another_process"},
            id="one",
        ),
        pytest.param("lab/product.py", "return 2\n", "return 1 + 1\n", {"two"}, id="called"),
        pytest.param("lab/product.py", "(1, 2)]", "[1, 2]]", {"area"}, id="method"),
        pytest.param(
            "lab/product.py",
            "LIMIT = 3",
            "LIMIT = 2 + 1",
            {"one", "two", "area", "in_another_process", "page", "pages"},
            id="module",
        ),
        pytest.param("page.txt", "page", "text", {"page"}, id="file"),
        pytest.param(
            "tests/test_product.py", "product.one() == 1", "product.one() > 0", {"one"}, id="test"
        ),
    ],
)
def test_what_uses_a_change_is_run(
    copied: Project, path: str, old: str, new: str, ran: set[str]
) -> None:
    copied.edit(path, old, new)
    assert copied.run("--changed") == {f"test_{name}" for name in ran}


def test_new_tests_and_new_files_are_run(copied: Project) -> None:
    copied.write("tests/test_more.py", "def test_new(): pass\n")
    copied.write("pages/second.txt", "the second")
    assert copied.run("--changed") == {"test_new", "test_pages"}


def test_without_a_map_it_says_how_to_make_one(tmp_path: Path) -> None:
    suite = Suite(tmp_path, test_a="def test_it(): pass")
    ended = suite.run("--changed")
    assert ended.code == pytest.ExitCode.USAGE_ERROR
    assert "`./keystead test --map`" in ended.out
