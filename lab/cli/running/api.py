"""``api``: a lab for another program, by JSON lines."""

from __future__ import annotations


def api() -> None:
    """Control a lab from another program: one JSON request and one JSON answer per line.

    keystead api

    The Python package `keystead` uses this command. The first request opens a lab, which ends with
    the input:

    {"open": {"mode": "sim", "seed": 7, "topology": "default"}}

    {"do": {"command": "link.cut", "a": "vcenter", "b": "kms"}}

    {"wait": ["vm.locked=vm-01"], "within_s": 600}

    An answer is {"answer": ...} or {"error": {"id": ..., "text": ..., "fix": ...}}. `keystead
    schema` prints the schema of all commands and answers.
    """
    import asyncio

    from lab.local.json_lines import serve

    asyncio.run(serve())
