"""KP-06 broken: a host with key persistence on stores keys though no TPM seals them."""

from __future__ import annotations

from services.esxi.host import Host
from tests.mutations.bugs.planting import plant

plant(Host, "sealed_by_tpm", lambda original: property(lambda self: True))
