"""What key servers were asked for and gave, and when a host mounted its disk groups. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chaos.conversation import Said
from protocol.messages.agent import NodeRecord
from protocol.terms import NodeName


def asked_for(one: Said) -> set[str]:
    """The ids that a request to a key server is for."""
    return set(one.body.get("key_ids", ())) if one.kind == "request" else set()


def answered(said: Sequence[Said], key: str, *, usable: bool) -> NodeName | None:
    """Who was asked for this key, and gave a value that may be used, or none that may (STD-19)."""
    replies = {(one.src, one.id): one for one in said if one.kind == "reply"}
    for one in said:
        if key not in asked_for(one) or (reply := replies.get((one.dst, one.id))) is None:
            continue
        values: list[dict[str, Any]] = reply.body.get("values", [])
        if any(value.get("key_id") == key and _usable(value) is usable for value in values):
            return NodeName(one.dst)
    return None


def _usable(value: Mapping[str, Any]) -> bool:
    return value.get("index") is not None and value.get("state") in ("Active", "Pre-Active")


def not_mounted(records: Sequence[NodeRecord], spoke: float | None) -> str:
    """Empty when a host's disk groups were mounted before it spoke with others."""
    mounted = [one.at for one in records if one.kind == "vsan.mounted"]
    if not mounted:
        return "its boot mounted no disk group"
    if spoke is not None and spoke < max(mounted):
        return "it spoke before its disk groups were mounted"
    return ""
