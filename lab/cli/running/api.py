"""``api``: a lab for another program, by JSON lines."""

from __future__ import annotations


def api() -> None:
    """Give a lab to another program: JSON, one request a line, one answer a line.

    keystead api

    This is what the Python package `keystead` starts. The first request opens a lab, which ends
    with the input:

    {"open": {"mode": "sim", "seed": 7, "topology": "default"}}

    {"do": {"command": "link.cut", "a": "vcenter", "b": "kms"}}

    {"wait": ["vm.locked=vm-01"], "within_s": 600}

    An answer is {"answer": ...}, or {"error": {"id": ..., "text": ..., "fix": ...}}. `keystead
    schema` has every command and answer.
    """
    import asyncio

    from lab.local.json_lines import serve

    asyncio.run(serve())
