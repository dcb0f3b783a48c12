"""REC-05 broken: a configuration that the recovery key opened has lost its list of VMs."""

from __future__ import annotations

from typing import Any

from services.esxi import boot
from services.esxi.measure import RECOVERY_OPTION
from tests.mutations.bugs.planting import plant


def _without_vms(original: Any) -> Any:
    def configuration(host: Any, image: bytes, protection: Any, config_key: Any) -> int:
        count: int = original(host, image, protection, config_key)
        if RECOVERY_OPTION in host.options:
            host.archive.change(vms=())
        return count

    return configuration


plant(boot, "_configuration", _without_vms)
