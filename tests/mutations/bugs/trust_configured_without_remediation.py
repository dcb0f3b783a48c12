"""HLT-03 broken: a host that moves into a trusted cluster is configured by itself."""

from __future__ import annotations

from typing import Any

from services.vcenter.trust import clusters
from services.vcenter.trust.judgement import view_of
from tests.mutations.bugs.planting import plant


def _at_once(original: Any) -> Any:
    def is_behind(desired: Any, summary: Any) -> bool:
        missing = desired is not None and view_of(summary) is None
        return missing or bool(original(desired, summary))

    return is_behind


plant(clusters, "is_behind", _at_once)
