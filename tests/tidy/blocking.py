"""Files that the supervisor's process touches: only those that are a lab's own, or in a thread.

Its event loop stands still while a file does not answer. Whatever people name, in a command or a
Lab file, may be a pipe or lie on a mount that hangs; it is read in a thread with a deadline.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import Final

from tests.tidy.tree import Source

OWN: Final = "the state folder of this user, which the lab cannot do without"
THREAD: Final = "called in a thread only: `in_thread`, `asyncio.to_thread`"
BESIDE: Final = "called in other processes only, or before the loop runs"

TOUCHES: Final = {
    "chaos/history.py": OWN,
    "chaos/yaml_file.py": BESIDE,
    "lab/scan/search.py": BESIDE,
    "lab/serve/files.py": THREAD,
    "lab/arrays/machines.py": OWN,
    "lab/arrays/shared_datastore.py": THREAD,
    "lab/brokers/foreign_servers.py": OWN,
    "lab/brokers/identities.py": OWN,
    "lab/brokers/program.py": "the broker's program, beside this one",
    "lab/brokers/server.py": OWN,
    "lab/kmip/credentials.py": BESIDE,
    "lab/runs/load_control.py": OWN,
    "lab/logs/records.py": THREAD,
    "lab/machines/issuing.py": OWN,
    "lab/machines/attached.py": BESIDE,
    "lab/machines/bundle.py": BESIDE,
    "lab/machines/checkup.py": BESIDE,
    "lab/machines/machine.py": OWN,
    "lab/machines/health.py": OWN,
    "lab/members/inviting.py": THREAD,
    "lab/machines/listening.py": OWN,
    "lab/machines/roster.py": OWN,
    "lab/processes/agent.py": BESIDE,
    "lab/processes/agents.py": OWN,
    "lab/processes/process_lab.py": THREAD,
    "lab/runs/live.py": OWN,
    "lab/runs/store.py": OWN,
    "lab/state/checkout.py": BESIDE,
    "lab/state/scratch.py": OWN,
    "lab/state/state_folder.py": OWN,
    "lab/supervise/supervisor.py": OWN,
    "lab/topology/lab_file.py": BESIDE,
    "lab/topology/secret_files.py": THREAD,
    "lab/topology/service_times.py": BESIDE,
}
"""Modules of the supervisor's process that touch files, and why its loop does not wait for them."""

_PATH_METHODS: Final = frozenset(
    "read_text read_bytes write_text write_bytes exists is_file is_dir is_symlink stat lstat glob"
    " rglob iterdir mkdir rmdir unlink touch rename symlink_to hardlink_to samefile".split()
)
_OS: Final = frozenset(
    "open stat lstat listdir scandir mkdir makedirs rename replace remove unlink rmdir link symlink"
    " access readlink statvfs".split()
)
_OURS: Final = frozenset(
    "open replace_file sync_folder read_regular_file open_regular read_file read_regular"
    " text_of".split()
)


def touched(source: Source) -> Iterator[int]:
    """Lines that touch a file."""
    for node in ast.walk(source.tree()):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in _OURS:
                yield node.lineno
            case ast.Call(func=ast.Attribute(value=ast.Name(id="os"), attr=name)) if name in _OS:
                yield node.lineno
            case ast.Call(func=ast.Attribute(value=ast.Name(id="shutil"))):
                yield node.lineno
            case ast.Call(func=ast.Attribute(attr="open", value=owner)) if _is_path(owner, node):
                yield node.lineno
            case ast.Call(func=ast.Attribute(attr=name)) if name in _PATH_METHODS:
                yield node.lineno


def _is_path(owner: ast.expr, call: ast.Call) -> bool:
    """A path is opened in a mode; a connection, an archive or a file of a disk is not."""
    mode = call.args[0] if call.args else None
    return isinstance(mode, ast.Constant) and isinstance(mode.value, str)


def blocking(sources: Iterable[Source]) -> list[str]:
    """What touches a file and is not in the table."""
    return [
        source.at(line, "the supervisor's loop would wait for this file: read it in a thread")
        for source in sources
        if source.path not in TOUCHES
        for line in touched(source)
    ]
