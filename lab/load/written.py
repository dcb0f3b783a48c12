"""An experiment that is a load and nothing else, as its file."""

from __future__ import annotations

from typing import Any, Final

import yaml

NAME: Final = "load"


def experiment(
    lab: str,
    changes: dict[str, Any],
    load: dict[str, Any],
    *,
    seed: int,
) -> str:
    """The text of one on a lab file with ``changes``: all VMs run before it, and nothing of the lab
    is worse after it."""
    whole = {
        "apiVersion": "keystead/v1",
        "kind": "Experiment",
        "name": NAME,
        "title": f"A load of {load['rate']}",
        "seed": seed,
        "topology": {"use": lab, **({"with": changes} if changes else {})},
        "load": load,
        "hypothesis": {
            "before": [{"probe": "vm.running", "is": "== 100%", "within": "60s"}],
            "recover": {"within": "60s"},
            "after": [{"probe": "host.connected", "is": "== 100%"}],
        },
        "guards": {"max_duration": "24h"},
        "schedule": [],
    }
    text: str = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True)
    return text
