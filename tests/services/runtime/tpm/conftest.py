"""TPM devices of both backends for the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from protocol.messages.agent import TpmBackend
from services.runtime.tpm.backends import open_device
from services.runtime.tpm.device import MemoryNv, NvStore, TpmDevice
from services.runtime.tpm.library import LibraryMissing, library_path

Maker = Callable[..., TpmDevice]


def _absent() -> str:
    """Only a missing libtpms excuses; a binding that does not load is a failure."""
    try:
        library_path()
    except LibraryMissing as error:
        return str(error)
    return ""


_ABSENT = _absent()
LIBTPMS = pytest.param(
    TpmBackend.LIBTPMS,
    id="libtpms",
    marks=[pytest.mark.tpm, pytest.mark.skipif(_ABSENT != "", reason=_ABSENT or "-")],
)
MODEL = pytest.param(TpmBackend.MODEL, id="model")


@pytest.fixture(params=[MODEL, LIBTPMS])
def backend(request: pytest.FixtureRequest) -> TpmBackend:
    return TpmBackend(request.param)


@pytest.fixture
def make(backend: TpmBackend) -> Iterator[Maker]:
    """Opens devices of the backend under test, each with an NV of its own, and closes them."""
    opened: list[TpmDevice] = []

    def maker(nv: NvStore | None = None) -> TpmDevice:
        device = open_device(backend, MemoryNv() if nv is None else nv)
        opened.append(device)
        return device

    yield maker
    for device in opened:
        device.close()


@pytest.fixture
def tpm(make: Maker) -> TpmDevice:
    """A new TPM without power."""
    return make()
