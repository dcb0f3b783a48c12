"""Choosing a backend: which are available, and the device of each.

A backend is imported when it is chosen. A process without real TPMs never loads the library and its
binding.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from protocol.errors import InvalidArgument
from protocol.messages.agent import TpmBackend
from services.runtime.tpm.device import MemoryNv, NvStore, TpmDevice


def open_device(
    backend: TpmBackend, nv: NvStore, entropy: Callable[[int], bytes] = os.urandom
) -> TpmDevice:
    """The TPM whose NV image is in ``nv``, without power; an empty store gets a new TPM.

    ``entropy`` feeds the model's seeds and nonces; libtpms has a generator of its own.

    ``InvalidArgument`` for backend ``none``, ``LibraryMissing`` when libtpms or tpm2-pytss is
    not there, ``ForeignImage`` when the image is of another backend.
    """
    match backend:
        case TpmBackend.NONE:
            raise InvalidArgument("backend none has no device: a host without TPM has no port")
        case TpmBackend.MODEL:
            from services.runtime.tpm.model import ModelDevice

            return ModelDevice(nv, entropy)
        case TpmBackend.LIBTPMS:
            reason = missing_for_libtpms()
            if reason:
                from services.runtime.tpm.library import LibraryMissing

                raise LibraryMissing(reason)
            from services.runtime.tpm.libtpms import LibtpmsDevice

            return LibtpmsDevice(nv)


def missing_for_libtpms() -> str:
    """Why backend libtpms cannot be used here; empty when it can. Loads the library's Python
    binding, but no TPM (``open_device`` does)."""
    from services.runtime.tpm.library import LibraryMissing, library_path, silence_tss

    silence_tss()
    try:
        library_path()
        import tpm2_pytss  # noqa: F401
    except LibraryMissing as error:
        return str(error)
    except ModuleNotFoundError as error:
        if error.name == "tpm2_pytss":
            return "tpm2-pytss is not installed, and real TPMs are commanded through it"
        return f"tpm2-pytss cannot be loaded: {error}"
    except (ImportError, RuntimeError) as error:
        return f"tpm2-pytss cannot be loaded: {error}"
    return ""


def probe_libtpms() -> bytes:
    """Open two real TPMs, check that they differ, and return 16 random bytes of one.

    ``LibraryMissing`` when the backend is not available, ``RuntimeError`` when copies of the
    library are not private, ``TpmError`` when a TPM does not work.
    """
    from services.runtime.tpm.library import LibraryMissing

    reason = missing_for_libtpms()
    if reason:
        raise LibraryMissing(reason)
    from services.runtime.tpm.libtpms import LibtpmsDevice

    first, second = LibtpmsDevice(MemoryNv()), LibtpmsDevice(MemoryNv())
    try:
        if first.ek_digest() == second.ek_digest():
            raise RuntimeError("two TPMs have the same endorsement key: copies are not private")
        first.power_on()
        return first.random(16)
    finally:
        first.close()
        second.close()
