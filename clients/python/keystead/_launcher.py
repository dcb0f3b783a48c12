"""Starts the program ``keystead``, with its packages on the path of this process only.

In a wheel they lie in ``keystead/_rooms``, so that ``lab`` or ``services`` of somebody else's
project keep their names; in a checkout they lie at its top.
"""

import os
import sys


def main() -> None:
    """The console script. Nothing else is imported before the program can answer an interrupt."""
    here = os.path.dirname(os.path.abspath(__file__))
    rooms = os.path.join(here, "_rooms")
    if not os.path.isdir(rooms):
        rooms = os.path.normpath(os.path.join(here, "..", "..", ".."))
    sys.path.insert(0, rooms)
    from lab.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
