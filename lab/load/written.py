"""An experiment that is a load and nothing else, as its file."""

from __future__ import annotations

from typing import Any, Final

import yaml

NAME: Final = "load"


def experiment(
    lab: str,
    changes: dict[str, Any],
    load: dict[str, Any],
) -> str:
    """The text of one on a lab file with ``changes``: all VMs run before it, where there shall be
    any, and nothing of the lab is worse after it."""
    before = [{"probe": "vm.running", "is": "== 100%", "within": "60s"}]
    whole = {
        "apiVersion": "keystead/v1",
        "kind": "Experiment",
        "name": NAME,
        "title": f"A load of {load['rate']}",
        "topology": {"use": lab, **({"with": changes} if changes else {})},
        "load": load,
        "hypothesis": {
            **({"before": before} if changes.get("vms") != 0 else {}),
            "recover": {"within": "60s"},
            "after": [{"probe": "host.connected", "is": "== 100%"}],
        },
        "guards": {"max_duration": "24h"},
        "schedule": [],
    }
    text: str = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True)
    return text
