"""Ways around the five ports, by syntax tree: what code outside of the drivers may not touch.

Ruff bans the same modules by name (``TID251``). This adds what a list of names cannot say: file
access, the builtins, what may be taken from asyncio, methods of loops and paths, and orders that
differ from run to run. A driver is a driver of a port, the lab, a benchmark, or a test.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.tidy.tree import Source

_DRIVERS = (
    "services/runtime/forking/",
    "services/runtime/real/",
    "services/runtime/sim/",
    "services/runtime/tpm/",
    "chaos/history",
    "chaos/report",
    "benchmarks/",
    "clients/",  # of users: it runs in processes of theirs
    "examples/",  # likewise
    "docs/",  # the builder of the documentation's site
    "containers/",  # programs that run while an image is built
    "lab/",
    "tests/",
)
_ALLOWED = {
    # The one reading of an experiment's file: it gets a path from the lab and decides nothing.
    "chaos/experiment/lint.py": {"pathlib.Path"},
    "chaos/yaml_file.py": {"pathlib.Path"},
    # The truth table lies beside its code and is a part of it.
    "chaos/oracle/table.py": {"pathlib.Path", ".read_text"},
    # Functions of a schema: the text is made of classes of this tree, never of bytes.
    "protocol/kmip/compiler.py": {"exec()"},
    # A nonce must not come from a stream that two processes could share; the library that draws
    # the keys asks the operating system too.
    "protocol/crypto/seal.py": {"os.urandom"},
    "protocol/crypto/provider_backup.py": {"os.urandom"},
    # The one place that speaks TLS: bytes in, bytes out.
    "services/runtime/tls/endpoint.py": {"OpenSSL"},
    # The one generator of what a seed fixes; every stream of choices begins here.
    "services/runtime/seeded.py": {"random"},
}

_MODULES = frozenset(
    "nats time socket random secrets subprocess multiprocessing threading _thread concurrent queue"
    " tpm2_pytss tempfile shutil glob fileinput signal select selectors fcntl ctypes mmap resource"
    " OpenSSL gc weakref sched ssl http urllib psutil logging".split()
)
_ONLY = {
    "os": frozenset({"strerror"}),
    "pathlib": frozenset({"PurePath", "PurePosixPath"}),
    "io": frozenset({"BytesIO", "StringIO"}),
    "sqlite3": None,  # everything but what is banned below
}
_SERVICE_ASYNCIO = frozenset(
    "TaskGroup timeout Event Queue QueueEmpty QueueFull Lock Condition Semaphore".split()
)
_RUNTIME_ASYNCIO = _SERVICE_ASYNCIO | frozenset(
    "CancelledError Future Task Timeout TimerHandle current_task get_running_loop".split()
)
_ATTRIBUTES = frozenset(
    "datetime.now datetime.utcnow datetime.today date.today uuid.uuid1 uuid.uuid4 uuid.getnode"
    " sqlite3.connect sys.stdin sys.stdout sys.stderr sys.argv".split()
)
_BUILTINS = frozenset("open input print exec eval __import__ breakpoint id hash globals".split())
_METHODS = frozenset(
    "read_text read_bytes write_text write_bytes mkdir rmdir unlink touch iterdir rglob symlink_to"
    " hardlink_to is_file is_dir call_soon call_soon_threadsafe call_later call_at run_in_executor"
    " run_until_complete".split()
)
_SERVICES = ("services/esxi/", "services/kms/", "services/vcenter/")


def ways_around(source: Source) -> list[str]:
    """Every way around the ports in this file."""
    if not source.python or source.path.startswith(_DRIVERS):
        return []
    allowed = _ALLOWED.get(source.path, set())
    found = [(line, what) for line, what in _touched(source) if what not in allowed]
    return [source.at(line, f"{what} is behind a port") for line, what in sorted(found)]


def _touched(source: Source) -> Iterator[tuple[int, str]]:
    service = source.path.startswith(_SERVICES)
    for node in ast.walk(source.tree()):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield from _module(node.lineno, alias.name)
            case ast.ImportFrom(module=str(module), names=names):
                yield from _module(node.lineno, module)
                for alias in names:
                    yield from _attribute(node.lineno, module, alias.name, service=service)
            case ast.Attribute(value=ast.Name(id=owner), attr=name):
                yield from _attribute(node.lineno, owner, name, service=service)
        yield from _call(node, service=service)
        yield from _order(node)


def _module(line: int, name: str) -> Iterator[tuple[int, str]]:
    if name.split(".")[0] in _MODULES or name == "os.path":
        yield line, name


def _attribute(line: int, owner: str, name: str, *, service: bool) -> Iterator[tuple[int, str]]:
    asyncio_names = _SERVICE_ASYNCIO if service else _RUNTIME_ASYNCIO
    only = asyncio_names if owner == "asyncio" else _ONLY.get(owner)
    if (only is not None and name not in only) or f"{owner}.{name}" in _ATTRIBUTES:
        yield line, f"{owner}.{name}"


def _call(node: ast.AST, *, service: bool) -> Iterator[tuple[int, str]]:
    match node:
        case ast.Call(func=ast.Name(id=name)) if name in _BUILTINS:
            yield node.lineno, f"{name}()"
        case ast.Call(func=ast.Attribute(attr=name)) if name in _METHODS:
            yield node.lineno, f".{name}"
        case ast.Call(func=ast.Attribute(attr="add_done_callback")) if service:
            yield node.lineno, ".add_done_callback"
        case ast.Call(func=ast.Attribute(attr="create_task", value=ast.Call() as made)):
            if "loop" in ast.unparse(made):
                yield node.lineno, "loop.create_task"
        case ast.Call(func=ast.Attribute(attr="create_task", value=ast.Name(id=name))):
            if "loop" in name:
                yield node.lineno, "loop.create_task"


def _order(node: ast.AST) -> Iterator[tuple[int, str]]:
    """A set has no order that two processes share: it is sorted, or asked for members only."""
    match node:
        case ast.For(iter=walked) | ast.AsyncFor(iter=walked) | ast.comprehension(iter=walked):
            if _is_set(walked):
                yield walked.lineno, "the order of a set"
        case ast.Call(func=ast.Name(id="list" | "tuple" | "iter"), args=[walked]):
            if _is_set(walked):
                yield walked.lineno, "the order of a set"


def _is_set(node: ast.expr) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() | ast.Sub()):
            return _is_set(left)
    return False
