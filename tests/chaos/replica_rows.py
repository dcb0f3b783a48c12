"""Records of what key servers have at the end that replicate, for the tests of the checks."""

from __future__ import annotations

from typing import Any

Row = tuple[str, str, str, dict[str, Any]]
"""A record: node, type, op and data."""


def replicas(**has: dict[str, int]) -> list[Row]:
    """What key servers have at the end that replicate; each of two has a number for each key."""
    found: list[Row] = []
    for server, keys in has.items():
        group = ["a", "b"] if server in "ab" else ["c", "d"]
        together = [has[one] for one in group if one in has]
        ids = {key for one in together for key in one}
        differ = [key for key in sorted(ids) if len({one.get(key) for one in together}) > 1]
        about = {"group": group, "keys": len(keys), "ids": len(ids), "differing": len(differ)}
        listed = {key: keys[key] for key in differ if key in keys}
        contents = 1000 + sum(number * 2**n for n, number in enumerate(keys.values()))
        found.append(
            (server, "state", "replicas", {**about, "differ": listed, "contents": contents})
        )
    return found


def unlisted(row: Row) -> Row:
    """As if no key had been found that differs."""
    server, kind, op, data = row
    return server, kind, op, data | {"differing": 0, "differ": {}}
