"""How long a call of the Tpm port takes in virtual time.

The figures are those of libtpms in process, rounded. A chip on a board needs 50 to 500 ms for
unseal and quote (then let the lab ``delay`` the device). They depend on the call only, never on
bytes or their number: random data must not change a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

LATENCY_S: Final[Mapping[str, float]] = MappingProxyType(
    {
        "power_on": 0.0002,
        "power_off": 0.0001,
        "extend_log": 0.001,
        "pcrs": 0.0003,
        "ensure_srk": 0.0005,
        "seal": 0.005,
        "unseal": 0.005,
        "ek": 0.001,
        "ek_chain": 0.0001,
        "ak": 0.001,
        "activate": 0.005,
        "quote": 0.002,
        "counter": 0.001,
        "nv_read": 0.0005,
        "nv_write": 0.001,
        "info": 0.0003,
        "vtpm.make": 0.01,
        "vtpm.power_on": 0.008,
        "vtpm.power_off": 0.001,
        "vtpm.endorse": 0.004,
        "vtpm.seal": 0.01,
        "vtpm.challenge": 0.012,
        "vtpm.unseal": 0.006,
        "vtpm.quote": 0.004,
        "vtpm.extend": 0.002,
        "vtpm.count": 0.002,
    }
)
"""Name of the port's method -> seconds. ``vtpm.*``: whole guest commands, which combine several
methods."""
