"""One-line bugs, found by syntax tree in functions that decide something.

The standard library only: processes load this file before anything else (``site``).
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("protocol", "services", "chaos", "lab")
_FUNCTION: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_DECIDES: Final = (ast.If, ast.IfExp, ast.Compare, ast.BoolOp, ast.Match, ast.While)
_OTHER: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_EMPTY: Final = {"tuple": "()", "list": "[]", "dict": "{}", "set": "set()", "str": "''"}
_EMPTY_BUILT: Final = {"frozenset": "frozenset()", "bytes": "b''"}


@dataclass(frozen=True)
class Bug:
    """``kind`` is what is done to the node at ``place`` (its number in a walk of the file's tree),
    in the ``choice``-th way. ``function`` is the qualified name of the outermost function."""

    path: str
    function: str
    line: int
    kind: str
    place: int
    choice: int
    before: str
    after: str

    @property
    def name(self) -> str:
        """The same as long as the function and the line's text are."""
        return f"{self.path}::{self.function}: {self.before} -> {self.after}"


def draw(count: int, seed: int, packages: Iterable[str] = PACKAGES) -> list[Bug]:
    """``count`` different bugs; each place of the packages is as likely as any other."""
    places = [
        (path, *found)
        for path in sources(packages)
        for found in _places(ast.parse((ROOT / path).read_bytes()))
    ]
    drawn: list[Bug] = []
    for path, function, place, kind, choice in random.Random(seed).sample(places, len(places)):
        if len(drawn) == count:
            break
        bug = _described(path, function, place, kind, choice)
        if bug is not None:
            drawn.append(bug)
    return drawn


def sources(packages: Iterable[str]) -> list[str]:
    """Python files of these packages or folders, by their path from the root."""
    return sorted(
        path.relative_to(ROOT).as_posix()
        for package in packages
        for path in ((ROOT / package).rglob("*.py") if (ROOT / package).is_dir() else [])
    )


def bugs_of(path: str) -> list[Bug]:
    """All that can be planted in this file."""
    found = (_described(path, *one) for one in _places(ast.parse((ROOT / path).read_bytes())))
    return [bug for bug in found if bug is not None]


def broken(bug: Bug) -> ast.Module:
    """The tree of the file with the bug in it."""
    tree = ast.parse((ROOT / bug.path).read_bytes())
    node = list(ast.walk(tree))[bug.place]
    _break(tree, node, bug.kind, bug.choice)
    return ast.fix_missing_locations(tree)


Place = tuple[str, int, str, int]
"""Function, place, kind and choice."""


def _places(tree: ast.Module) -> Iterator[Place]:
    number = {id(node): n for n, node in enumerate(ast.walk(tree))}
    for name, function in _functions(tree.body, ""):
        if name.endswith(("__repr__", "__str__")) or not any(
            isinstance(node, _DECIDES) for node in ast.walk(function)
        ):
            continue
        for node in _of_body(function):
            for kind, choice in _ways(node, function):
                yield name, number[id(node)], kind, choice


def _functions(
    body: list[ast.stmt], prefix: str
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in body:
        if isinstance(node, _FUNCTION):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{prefix}{node.name}.")


def _of_body(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """All nodes that are run: without annotations, decorators, defaults and docstrings."""
    waiting: list[ast.AST] = list(reversed(function.body))
    while waiting:
        node = waiting.pop()
        yield node
        fields = [
            value
            for name, value in ast.iter_fields(node)
            if name not in ("annotation", "returns", "decorator_list", "args", "type_params")
            or isinstance(node, ast.Call)
        ]
        for value in reversed(fields):
            children = value if isinstance(value, list) else [value]
            waiting += [child for child in reversed(children) if isinstance(child, ast.AST)]


def _ways(node: ast.AST, function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[tuple[str, int]]:
    match node:
        case ast.Compare():
            ways = [len(_OTHER.get(type(op), ())) for op in node.ops]
            return [("compare", 10 * n + way) for n, most in enumerate(ways) for way in range(most)]
        case ast.BoolOp():
            places = range(len(node.values))
            return [(kind, n) for kind in ("drop operand", "negate operand") for n in places]
        case ast.UnaryOp(op=ast.Not()):
            return [("drop not", 0)]
        case ast.Constant(value=bool()):
            return [("constant", 0)]
        case ast.Constant(value=int() | float()):
            return [("constant", 1), ("constant", -1)]
        case ast.If() | ast.IfExp():
            return [("never", 0), ("always", 0)]
        case ast.comprehension():
            return [("drop filter", n) for n in range(len(node.ifs))]
        case ast.Call(args=[first, second, *_]) if ast.dump(first) != ast.dump(second):
            starred = any(isinstance(one, ast.Starred) for one in (first, second))
            return [] if starred else [("swap arguments", 0)]
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign() | ast.Raise():
            return [("delete", 0)]
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.Delete():
            return [("delete", 0)]
        case ast.Return(value=ast.expr()) if _instead(node, function):
            return [("return", 0)]
    return []


def _instead(node: ast.Return, function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """What this function might return instead, as an expression; empty when nothing is obvious."""
    if function.returns is None or node.value is None:
        return ""
    annotated, value = ast.unparse(function.returns), ast.unparse(node.value)
    name = annotated.partition("[")[0]
    if annotated == "bool":
        other = f"not ({value})"
    elif annotated in ("int", "float"):
        other = f"({value}) + 1"
    elif annotated.endswith("| None"):
        other = "None"
    else:
        other = {**_EMPTY, **_EMPTY_BUILT}.get(name, "")
    return "" if other == value else other


def _described(path: str, function: str, place: int, kind: str, choice: int) -> Bug | None:
    """None when the line would be the same, or no longer a program."""
    tree = ast.parse((ROOT / path).read_bytes())
    node = list(ast.walk(tree))[place]
    line = node.target.lineno if isinstance(node, ast.comprehension) else int(node.lineno)  # type: ignore[attr-defined]
    before = _text(node)
    left = _break(tree, node, kind, choice)
    after = "nothing" if left is None else _text(left)
    if before == after:
        return None
    return Bug(path, function, line, kind, place, choice, before, after)


def _text(node: ast.AST) -> str:
    """The node in one line; of a block its head."""
    text = ast.unparse(node).strip().split("\n")[0]
    return text if len(text) <= 160 else text[:157] + "..."


def _break(tree: ast.Module, node: ast.AST, kind: str, choice: int) -> ast.AST | None:
    """Break the tree; what is in the place of the node then."""
    new: ast.AST | None = node
    match node, kind:
        case ast.Compare(), "compare":
            at, way = divmod(choice, 10)
            node.ops[at] = _OTHER[type(node.ops[at])][way]()
        case ast.BoolOp(), "drop operand":
            del node.values[choice]
            new = node if len(node.values) > 1 else node.values[0]
        case ast.BoolOp(), "negate operand":
            node.values[choice] = ast.UnaryOp(ast.Not(), node.values[choice])
        case ast.UnaryOp(), "drop not":
            new = node.operand
        case ast.Constant(value=bool()), _:
            node.value = not node.value
        case ast.Constant(value=int() | float() as number), _:
            node.value = number + choice
        case ast.If() | ast.IfExp(), ("never" | "always"):
            node.test = ast.Constant(kind == "always")
        case ast.comprehension(), _:
            del node.ifs[choice]
        case ast.Call(), _:
            node.args[:2] = reversed(node.args[:2])
        case ast.Return(), _:
            function = next(f for _, f in _functions(tree.body, "") if node in ast.walk(f))
            node.value = ast.parse(_instead(node, function), mode="eval").body
        case _, "delete":
            new = ast.Pass()
        case _:
            raise ValueError(f"{kind} is not for {type(node).__name__}")
    if new is not node and new is not None:
        _replace(tree, node, new)
    return None if isinstance(new, ast.Pass) else new


def _replace(tree: ast.Module, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, ast.copy_location(new, old))
            elif isinstance(value, list) and any(one is old for one in value):
                value[:] = [ast.copy_location(new, old) if one is old else one for one in value]


def probed(path: str, bugs: Iterable[tuple[int, Bug]], call: str) -> ast.Module:
    """The tree of the file with ``call`` of a bug's number before the statement of each bug."""
    tree = ast.parse((ROOT / path).read_bytes())
    nodes = list(ast.walk(tree))
    held = {id(child): parent for parent in nodes for child in ast.iter_child_nodes(parent)}
    for number, bug in bugs:
        node = nodes[bug.place]
        while not isinstance(node, ast.stmt):
            node = held[id(node)]
        [probe] = ast.parse(f"{call}({number})").body
        for name, value in ast.iter_fields(held[id(node)]):
            if isinstance(value, list) and any(one is node for one in value):
                at = next(n for n, one in enumerate(value) if one is node)
                value.insert(at, ast.copy_location(probe, node))
                assert name in ("body", "orelse", "finalbody")
                break
    return ast.fix_missing_locations(tree)
