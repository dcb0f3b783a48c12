"""NKP-14 broken: a key depends on its id alone, so that any KDK makes it."""

from __future__ import annotations

from protocol.crypto import native
from protocol.crypto.derive import derive_key
from protocol.secret import KeyMaterial
from services.esxi.providers import native as of_hosts
from services.vcenter.providers import native as of_vcenter
from tests.mutations.bugs.planting import plant


def _of_the_id(_: object) -> object:
    def derive_kek(kdk: KeyMaterial, key_id: str) -> KeyMaterial:
        return derive_key(KeyMaterial(b"the same for all" * 2), salt=b"", info=key_id.encode())

    return derive_kek


for user in (native, of_hosts, of_vcenter):
    plant(user, "derive_kek", _of_the_id)
