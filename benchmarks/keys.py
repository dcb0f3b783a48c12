"""What a key costs on a host of a native provider: derived, and what it is for wrapped under it."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from typing import ClassVar, TypeVar

from benchmarks.benchmark import Bar, Benchmark, CannotRun, Figures, Report, Sense
from benchmarks.staging import SEED
from protocol.crypto.derive import KDK_SIZE, derive_kek
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, KeyId, NodeName, ProviderId, VmName
from services.esxi.vms.file_formats import FIRST_DISK, new_config, open_disk, wrap_dek
from services.runtime.incarnation import Incarnation
from services.runtime.real.clock_and_rng import LabRng

T = TypeVar("T")

VM, PROVIDER = VmName("vm-01"), ProviderId("native")
DEK_SIZE = 64


class KeyDerivation(Benchmark):
    """The functions that a host calls for a VM's disk: a KEK made of the key derivation key and an
    id that was not seen before (HKDF), a DEK wrapped under it with a nonce of its own, and that
    unwrapped again. One thread, CPU time: no disk and no bus is in it.
    """

    name: ClassVar[str] = "key-derivation"
    measures: ClassVar[str] = "CPU per key: derived of a KDK, a DEK wrapped under it, and unwrapped"
    unit: ClassVar[str] = "us"
    bar: ClassVar[Bar] = Bar(Sense.BELOW, 50.0)

    async def run(self, report: Report) -> Figures:
        count = 200 if self.quick else 20_000
        life = Incarnation(NodeName("esxi-001"), 1)
        rng = LabRng(SEED, life)
        kdk = KeyMaterial(os.urandom(KDK_SIZE))
        keys = [CryptoKeyId(KeyId(str(uuid.uuid4())), PROVIDER) for _ in range(count)]
        deks = [KeyMaterial(os.urandom(DEK_SIZE)) for _ in keys]
        config = new_config(VM, 1, rng)
        [disk] = config.disks

        keks, derive_us = time_call(lambda: [derive_kek(kdk, key.key_id) for key in keys])
        wrapped, wrap_us = time_call(
            lambda: [
                wrap_dek(VM, FIRST_DISK, dek, key, kek, rng)
                for key, kek, dek in zip(keys, keks, deks, strict=True)
            ]
        )
        disks = [type(disk)(blocks=disk.blocks, dek=one) for one in wrapped]
        opened, unwrap_us = time_call(
            lambda: [
                open_disk(config, one, {key: kek})
                for one, key, kek in zip(disks, keys, keks, strict=True)
            ]
        )
        if opened != deks or len(set(kek.reveal() for kek in keks)) != count:
            raise CannotRun("what was wrapped is not what was unwrapped")
        each = {"derive_us": derive_us, "wrap_us": wrap_us, "unwrap_us": unwrap_us}
        each = {name: us / count for name, us in each.items()}
        return Figures(sum(each.values()), each)


def time_call(work: Callable[[], T]) -> tuple[T, float]:
    """What ``work`` returns, and its CPU time in microseconds."""
    begun = time.thread_time()
    done = work()
    return done, 1e6 * (time.thread_time() - begun)
