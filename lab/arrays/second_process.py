"""``python -m lab.arrays.second_process FILE`` takes the lock of a file, and tells whether it could
by its exit code: those of ``trial``, which this one does not import, to be quick."""

from __future__ import annotations

import sys
from pathlib import Path

from services.runtime.real import files


def _main(file: str) -> int:
    try:
        files.take_lock(Path(file))
    except files.Locked:
        return 10
    except OSError:
        return 12
    return 11


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
