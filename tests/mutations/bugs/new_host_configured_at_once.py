"""HLT-03 broken: vCenter configures a host that comes into a trusted cluster, and asks nobody."""

from __future__ import annotations

from typing import Any

from services.vcenter.trust import clusters
from services.vcenter.trust.judgement import view_of
from tests.mutations.bugs.planting import plant


def _at_once(original: Any) -> Any:
    def is_behind(desired: Any, summary: Any) -> bool:
        applied = view_of(summary)
        return (desired is not None and applied is None) or original(desired, summary)

    return is_behind


plant(clusters, "is_behind", _at_once)
