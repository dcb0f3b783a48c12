"""The clauses of a judge, read from its code, and which of them its tests have seen both ways.

A clause is what can turn a decision: a comparison, an operand of ``and`` and ``or``, the condition
of a branch or a filter. Its tests must have it come out true and come out false; of a ``case`` it
is enough that it was taken. A judge that is never lied to about a clause may as well not have it.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from tests.breakage.bugs import ROOT
from tests.breakage.planting import exchange

_CALL: Final = "_of_a_clause"  # a global of each judge
_seen: dict[tuple[str, int], set[bool]] = defaultdict(set)


def seen(path: str, number: int, value: Any) -> Any:
    """Note how a clause came out."""
    _seen[path, number].add(bool(value))
    return value


def unseen(paths: Sequence[str], tests: Sequence[str]) -> list[str]:
    """Clauses of these files that the tests (node ids) leave on one side, or never come to. Runs
    pytest in this process, which is a worker's; ``AssertionError`` when a test fails."""
    from tests.mutations.play import run_tests

    clauses = {}
    for path in paths:
        tree = ast.parse((ROOT / path).read_bytes())
        marker = _Marker(path)
        marker.visit(tree)
        clauses[path] = marker.clauses
        module = exchange(path, ast.fix_missing_locations(tree), marker.functions)
        vars(module)[_CALL] = seen
    failed = [outcome for outcome in run_tests("", tuple(tests)) if not outcome.passed]
    assert not failed, failed[0].told
    return [
        f"{path}: {text}: {_missing(_seen[path, number], taken=taken)}"
        for path, some in clauses.items()
        for number, (text, taken) in enumerate(some)
        if _missing(_seen[path, number], taken=taken)
    ]


def _missing(sides: set[bool], *, taken: bool) -> str:
    if taken:
        return "" if sides else "never taken"
    if not sides:
        return "never asked"
    return "" if len(sides) == 2 else f"never {str(not next(iter(sides))).lower()}"


class _Marker(ast.NodeTransformer):
    """Puts a call around each clause of the functions of a file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._function = ""
        self._class = ""
        self.clauses: list[tuple[str, bool]] = []
        self.functions: set[str] = set()

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        outer, self._class = self._class, f"{self._class}{node.name}."
        node.body = [self.visit(one) for one in node.body]
        self._class = outer
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._visit_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._visit_function(node)

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        outer = self._function
        self._function = outer or f"{self._class}{node.name}"
        self.functions.add(self._function)
        node.body = [self.visit(one) for one in node.body]
        self._function = outer
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        self._test(node)
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self._test(node)
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        self._test(node)
        return node

    def _test(self, node: ast.If | ast.IfExp | ast.While) -> None:
        marked = self._marked(node.test)
        node.test = ast.Constant(True)  # it is visited once
        self.generic_visit(node)
        node.test = marked

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        marked = [self._marked(one) for one in node.ifs]
        node.ifs = []
        self.generic_visit(node)
        node.ifs = marked
        return node

    def visit_match_case(self, node: ast.match_case) -> ast.AST:
        if node.guard is not None:
            node.guard = self._marked(node.guard)
        node.body = [self.visit(one) for one in node.body]
        if not _asserts_never(node.body):
            note = self._call(f"case {ast.unparse(node.pattern)}", ast.Constant(True), taken=True)
            node.body.insert(0, ast.Expr(note))
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        last = len(node.values) - 1
        node.values = [
            self.visit(one) if n == last and not _is_truth(one) else self._marked(one)
            for n, one in enumerate(node.values)
        ]
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        return self._marked(node) if self._function else node

    def _marked(self, node: ast.expr) -> ast.expr:
        """The expression with each clause of it in a call."""
        if not self._function or isinstance(node, ast.Constant):
            return node
        if isinstance(node, ast.BoolOp):
            node.values = [self._marked(one) for one in node.values]
            return node
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            node.operand = self._marked(node.operand)
            return node
        text = ast.unparse(node)
        if isinstance(node, ast.Compare):
            self.generic_visit(node)
        else:
            node = self.visit(node)
        return self._call(text, node)

    def _call(self, text: str, node: ast.expr, *, taken: bool = False) -> ast.expr:
        self.clauses.append((f"{self._function}: {text}", taken))
        call = ast.parse(f"{_CALL}({self._path!r}, {len(self.clauses) - 1}, 0)", mode="eval").body
        assert isinstance(call, ast.Call)
        call.args[2] = node
        return call


def _is_truth(node: ast.expr) -> bool:
    return isinstance(node, ast.Compare | ast.BoolOp) or (
        isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    )


def _asserts_never(body: list[ast.stmt]) -> bool:
    return len(body) == 1 and "assert_never" in ast.unparse(body[0])
