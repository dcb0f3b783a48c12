"""The certifier of a lab's TPMs, whose secret all processes of the lab read from one file."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from protocol.secret import KeyMaterial
from services.runtime.real.files import replace_file
from services.runtime.tpm.maker import SECRET_SIZE, TpmMaker

_FILE: Final = "maker.key"


def tpm_maker(folder: Path) -> TpmMaker:
    """The certifier with the secret in ``folder``, which is created if needed. Blocks.

    If several processes create one at a time, the first one counts: a complete file is linked to
    its name only if nothing has that name.
    """
    path = folder / _FILE
    if not path.exists():
        fresh = folder / f".{_FILE}.{os.getpid()}.new"
        replace_file(fresh, os.urandom(SECRET_SIZE), durable=True)
        try:
            with suppress(FileExistsError):
                os.link(fresh, path)
        finally:
            os.unlink(fresh)
    return TpmMaker(KeyMaterial(path.read_bytes()))
