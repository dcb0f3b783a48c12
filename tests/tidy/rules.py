"""Rules that one file keeps on its own: sizes, names, docstrings, words that do not belong here.

A rule is a function of a ``Source`` that gives findings, ``path:line: message``. Patterns are
spelled with brackets where they would otherwise find themselves.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import PurePosixPath

from tests.tidy.tree import PACKAGES, Source, package_sources, statements

Rule = Callable[[Source], list[str]]

FILE_LINES, FUNCTION_LINES, LINE_WIDTH = 700, 60, 100
NAMELESS = {"util", "utils", "helper", "helpers", "common", "misc"}
_PRAGMA = re.compile(r"\s+# (noqa|type:|pragma:).*$")
_ONE_FILE_PER = re.compile(r"\b(file per|per file|each module here)\b", re.IGNORECASE)
_GENERATED = {"requirements.lock", "requirements-dev.lock", "requirements-mutants.lock"}
_DATA = (".json", ".jsonl", ".svg", ".csv", ".hex", ".ambr", ".html")
_WRITTEN = (
    "clients/python/keystead/_commands.pyi",
    "clients/python/keystead/answers.pyi",
    "tests/transcripts/played/",
    "tests/lab/api/__snapshots__/",
)  # by tests
_WORDS = {
    "a package registry's host": re.compile(
        r"py[p]i\.org|pythonhoste[d]|debia[n]\.org|npmj[s]\.|crate[s]\.io|golan[g]\.org"
        r"|docke[r]\.io|ghc[r]\.io|qua[y]\.io"
    ),
    "a path of one machine": re.compile(r"/wor[k]/|/roo[t]/|/hom[e]/[a-z]|/User[s]/[A-Za-z]"),
    "a file outside this tree": re.compile(r"\.\./share[d]|\bshare[d]/(design|spec|vectors)"),
    "the number of an issue": re.compile(r"\b[Ii]ssue[s]? #?\d|(?<![\w&#/])#\d{1,4}\b"),
    "work left for later": re.compile(r"\b(T[O]DO|F[I]XME|X[X]X|H[A]CK)\b"),
}


_ENDINGS = frozenset(
    "abort aclose cancel close disconnect end join kill release remove rmtree shutdown stop"
    " terminate unlink".split()
)
_MAY_FINALISE = {
    # Opened with ``check_same_thread=False``: any thread may close it.
    "services/runtime/sim/database.py",
}


def file_is_short(source: Source) -> list[str]:
    """At most 700 lines. What is data, or written by a program, is exempt."""
    if source.path in _GENERATED or source.path.endswith((*_DATA, ".md")):
        return []
    if source.path.startswith(_WRITTEN):
        return []
    length = len(source.lines)
    if length <= FILE_LINES:
        return []
    return [source.at(length, f"{length} lines, at most {FILE_LINES}")]


def lines_are_narrow(source: Source) -> list[str]:
    """At most 100 characters a line, in what people write as code; words to a tool come on top."""
    if not (source.python or source.shell):
        return []
    return [
        source.at(number, f"{len(line)} characters, at most {LINE_WIDTH}")
        for number, line in enumerate(source.lines, 1)
        if len(_PRAGMA.sub("", line)) > LINE_WIDTH
    ]


def functions_are_short(source: Source) -> list[str]:
    """At most 60 lines a function, its docstring included, its decorators not."""
    if not source.python:
        return []
    found = []
    for node in statements(source.tree()):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                text = f"{node.name} has {length} lines, at most {FUNCTION_LINES}"
                found.append(source.at(node.lineno, text))
    return found


def starts_at_the_end(source: Source) -> list[str]:
    """A module that is run begins when all of it is defined: nothing follows its start."""
    if not source.python:
        return []
    body = source.tree().body
    starts = [node for node in body if isinstance(node, ast.If) and _is_main(node.test)]
    return [
        source.at(node.lineno, "what follows is not defined when the module is run")
        for node in starts
        if node is not body[-1]
    ]


def _is_main(test: ast.expr) -> bool:
    return ast.unparse(test) == "__name__ == '__main__'"


def named_for_a_noun(source: Source) -> list[str]:
    """No module or folder for what found no place."""
    path = PurePosixPath(source.path)
    return [
        source.at(1, f"a module named {part} has no subject")
        for part in (*path.parts[:-1], path.stem)
        if part.lower() in NAMELESS
    ]


def module_says_what_it_is(source: Source) -> list[str]:
    """A docstring at the top of each module."""
    if not source.python or ast.get_docstring(source.tree()):
        return []
    return [source.at(1, "no docstring says what this module is")]


def package_is_mapped(source: Source) -> list[str]:
    """A package's docstring names each module in it, or says that there is one file per thing."""
    path = PurePosixPath(source.path)
    if path.name != "__init__.py" or source.test:
        return []
    text = ast.get_docstring(source.tree()) or ""
    if _ONE_FILE_PER.search(text):
        return []
    absent = [name for name in _modules_of(path.parent.as_posix()) if not _named(name, text)]
    return [source.at(1, f"the package's map leaves out {name}") for name in absent]


def _modules_of(folder: str) -> list[str]:
    inside = [s.path.removeprefix(f"{folder}/") for s in package_sources()]
    names = {PurePosixPath(p).parts[0] for p in inside if not p.startswith(PACKAGES)}
    return sorted(name.removesuffix(".py") for name in names if name != "__init__.py")


def _named(name: str, text: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text) is not None


def finalisers_close_nothing(source: Source) -> list[str]:
    """No ``__del__`` or ``weakref.finalize`` closes or ends a thing.

    The garbage collector runs on any thread, inside whatever else happens there: a connection that
    belongs to one thread refuses, and another test is blamed.
    """
    if not source.python or source.path in _MAY_FINALISE:
        return []
    if "__del__" not in source.text and "finalize" not in source.text:
        return []
    found = []
    for node in ast.walk(source.tree()):
        if isinstance(node, ast.FunctionDef) and node.name == "__del__":
            calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)]
            names = {name for call in calls for name in _called(call) if name in _ENDINGS}
            found += [source.at(node.lineno, f"__del__ calls {name}") for name in sorted(names)]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "weakref.finalize":
            found.append(source.at(node.lineno, "weakref.finalize runs on any thread"))
    return found


def _called(call: ast.Call) -> list[str]:
    if isinstance(call.func, ast.Attribute):
        return [call.func.attr]
    return [call.func.id] if isinstance(call.func, ast.Name) else []


def numbers_are_given_once(source: Source) -> list[str]:
    """A second member of an enumeration with the value of a first is only another name for it."""
    wrong = []
    for node in statements(source.tree()) if source.python else ():
        if isinstance(node, ast.ClassDef) and any(
            ast.unparse(base).endswith(("Enum", "Flag", "Code")) for base in node.bases
        ):
            values = [ast.unparse(one.value) for one in node.body if isinstance(one, ast.Assign)]
            again = sorted({value for value in values if values.count(value) > 1})
            wrong += [f"{source.path}: {node.name} has {value} twice" for value in again]
    return wrong


def words_belong_here(source: Source) -> list[str]:
    """Nothing that only the machine, the registry or the plans of one day can explain."""
    return [
        source.at(number, f"names {what}: {match.group()}")
        for what, pattern in _WORDS.items()
        if pattern.search(source.text)
        for number, line in enumerate(source.lines, 1)
        for match in [pattern.search(line)]
        if match
    ]


RULES: tuple[Rule, ...] = (
    file_is_short,
    lines_are_narrow,
    functions_are_short,
    starts_at_the_end,
    named_for_a_noun,
    module_says_what_it_is,
    numbers_are_given_once,
    package_is_mapped,
    finalisers_close_nothing,
    words_belong_here,
)
