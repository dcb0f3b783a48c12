"""Private copies of libtpms: one TPM engine each, many in one process.

libtpms keeps its TPM in global variables, so every TPM needs a copy of the library of its own.
The loader compares path names and inodes: each copy is a fresh file with a fresh name, removed
as soon as it is loaded. A guard refuses a copy that shares its code with another one.

Everything here blocks, and one engine must not be entered by two threads at once.
"""

from __future__ import annotations

import _ctypes
import ctypes
import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_SUCCESS: Final = 0
_FAIL: Final = 0x09
_RETRY: Final = 0x800
"""TPM_RETRY: no data of that name is stored; make a new TPM."""
_VERSION_2: Final = 1
_PERMANENT: Final = b"permall"
_VOLATILE: Final = b"volatilestate"
_NO_DESCRIPTOR: Final = 0x7FFFFFFF
"""The descriptor for libtpms's messages about failure mode; no process has so many files open."""

_Loader = ctypes.CFUNCTYPE(
    ctypes.c_uint32,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_uint32),
    ctypes.c_uint32,
    ctypes.c_char_p,
)
_Storer = ctypes.CFUNCTYPE(
    ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_char_p
)
_Deleter = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_uint32, ctypes.c_char_p, ctypes.c_ubyte)
_Nothing = ctypes.CFUNCTYPE(ctypes.c_uint32)
_Locality = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32), ctypes.c_uint32)
_Presence = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.POINTER(ctypes.c_ubyte), ctypes.c_uint32)


class _Callbacks(ctypes.Structure):
    """struct libtpms_callbacks."""

    _fields_ = (
        ("size", ctypes.c_int),
        ("nvram_init", _Nothing),
        ("nvram_loaddata", _Loader),
        ("nvram_storedata", _Storer),
        ("nvram_deletename", _Deleter),
        ("io_init", _Nothing),
        ("io_getlocality", _Locality),
        ("io_getphysicalpresence", _Presence),
    )


class LibraryMissing(Exception):
    """libtpms is not installed, or a copy of it cannot be loaded; the text states which."""


_serial = itertools.count(1)
_guard = threading.Lock()
_entries: set[int] = set()
_source: list[Path] = []


def library_path() -> Path:
    """The installed libtpms.so.0; ``LibraryMissing`` when there is none."""
    with _guard:
        if not _source:
            _source.append(_find_library())
        return _source[0]


def _find_library() -> Path:
    for folder in (*os.environ.get("LD_LIBRARY_PATH", "").split(":"), *_FOLDERS):
        path = Path(folder) / "libtpms.so.0"
        if folder and path.is_file():
            return path.resolve()
    raise LibraryMissing("libtpms.so.0 is not installed")


_MACHINE: Final = os.uname().machine
_FOLDERS: Final = (
    f"/usr/lib/{_MACHINE}-linux-gnu",
    f"/lib/{_MACHINE}-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
)


def silence_tss() -> None:
    """Keep the TSS from writing every refusal to stderr. Call it before the first use of the
    TSS."""
    os.environ.setdefault("TSS2_LOG", "all+NONE")


class Engine:
    """One TPM engine. ``load`` returns its permanent state at power-on (empty: a new TPM).
    ``store`` stores it; an exception makes the TPM fail."""

    memory: bytes = b""
    """What the engine had in memory when it was frozen: the next ``init`` continues from there."""

    def __init__(self, load: Callable[[], bytes], store: Callable[[bytes], None]) -> None:
        self._load, self._store = load, store
        self.store_error: BaseException | None = None
        self._library = _private_copy()
        self._entry = _register_copy(self._library)
        self._library.TPM_Malloc.argtypes = (
            ctypes.POINTER(ctypes.c_void_p),
            ctypes.c_uint32,
        )
        self._response = ctypes.c_void_p()
        self._response_size = ctypes.c_uint32()
        self._response_room = ctypes.c_uint32()
        self._callbacks = self._make_callbacks()
        self._library.TPMLIB_SetDebugFD(_NO_DESCRIPTOR)
        self._check(self._library.TPMLIB_ChooseTPMVersion(_VERSION_2), "TPMLIB_ChooseTPMVersion")
        self._check(
            self._library.TPMLIB_RegisterCallbacks(ctypes.byref(self._callbacks)),
            "TPMLIB_RegisterCallbacks",
        )

    def init(self) -> int:
        """Power on: load the state. Returns the library's result, 0 for success."""
        return int(self._library.TPMLIB_MainInit())

    def terminate(self) -> None:
        """Power off: everything that is not in the permanent state is lost."""
        self._library.TPMLIB_Terminate()

    def process(self, command: bytes) -> bytes:
        """Execute one TPM command and return its response."""
        # The engine decrypts parameters in place: never in the caller's immutable bytes.
        own = ctypes.create_string_buffer(command, len(command))
        result = self._library.TPMLIB_Process(
            ctypes.byref(self._response),
            ctypes.byref(self._response_size),
            ctypes.byref(self._response_room),
            own,
            len(command),
        )
        self._check(result, "TPMLIB_Process")
        if self._response.value is None:
            raise RuntimeError("TPMLIB_Process gave no response")
        return ctypes.string_at(self._response.value, self._response_size.value)

    def dump_volatile_state(self) -> bytes:
        """Everything that is not in the permanent state; an engine continues from it
        (``memory``)."""
        data, size = ctypes.c_void_p(), ctypes.c_uint32()
        self._check(
            self._library.TPMLIB_VolatileAll_Store(ctypes.byref(data), ctypes.byref(size)),
            "TPMLIB_VolatileAll_Store",
        )
        try:
            return ctypes.string_at(data.value or 0, size.value)
        finally:
            self._library.TPM_Free.argtypes = (ctypes.c_void_p,)
            self._library.TPM_Free(data)

    def close(self) -> None:
        """Unload the copy. The engine must be terminated, and cannot be used afterwards."""
        if self._entry:
            if self._response.value is not None:
                self._library.TPM_Free.argtypes = (ctypes.c_void_p,)
                self._library.TPM_Free(self._response)
            with _guard:
                _entries.discard(self._entry)
            self._entry = 0
            _ctypes.dlclose(self._library._handle)

    @staticmethod
    def _check(result: int, what: str) -> None:
        if result != _SUCCESS:
            raise RuntimeError(f"{what} failed with {result:#x}")

    def _make_callbacks(self) -> _Callbacks:
        def load(
            data: Any, length: Any, number: int, name: bytes
        ) -> int:  # called by the library, in the thread that entered it
            image = self._load() if name == _PERMANENT else b""
            if name == _VOLATILE:
                image = self.memory
            if not image:
                return _RETRY
            if self._library.TPM_Malloc(data, len(image)) != _SUCCESS:
                return _FAIL
            ctypes.memmove(data[0], image, len(image))
            length[0] = len(image)
            return _SUCCESS

        def store(data: int, length: int, number: int, name: bytes) -> int:
            if name != _PERMANENT:
                return _SUCCESS
            try:
                self._store(ctypes.string_at(data, length))
            except BaseException as error:  # an exception must not cross into C
                self.store_error = error
                return _FAIL
            return _SUCCESS

        return _Callbacks(
            ctypes.sizeof(_Callbacks),
            _Nothing(lambda: _SUCCESS),
            _Loader(load),
            _Storer(store),
            _Deleter(lambda number, name, must: _SUCCESS),
            _Nothing(lambda: _SUCCESS),
            _Locality(_zero_pointer),
            _Presence(_zero_pointer),
        )


def _zero_pointer(value: Any, number: int) -> int:
    value[0] = 0
    return _SUCCESS


def _private_copy() -> ctypes.CDLL:
    source = library_path()
    folder = Path(tempfile.mkdtemp(prefix="keystead-tpm-"))
    copy = folder / f"libtpms-{os.getpid()}-{next(_serial)}.so"
    try:
        shutil.copyfile(source, copy)
        return ctypes.CDLL(str(copy), mode=os.RTLD_NOW | os.RTLD_LOCAL)
    except OSError as error:
        raise LibraryMissing(f"no private copy of {source.name} can be loaded: {error}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _register_copy(library: ctypes.CDLL) -> int:
    """Register the address of the copy's entry point; ``RuntimeError`` when another engine has the
    same one."""
    address = ctypes.cast(library.TPMLIB_MainInit, ctypes.c_void_p).value or 0
    with _guard:
        if not address or address in _entries:
            raise RuntimeError("the loader gave two TPMs the same copy of libtpms")
        _entries.add(address)
    return address
