"""``python -I -S die_with_parent.py PARENT PROGRAM ARGS...``: run PROGRAM, end with PARENT.

Asks the kernel for SIGKILL when the thread that started us ends, and for no core file, then
becomes the program: both requests survive ``exec``. It is a program of its own and no
``preexec_fn``, because code between fork and exec is unsafe once the parent has threads. Keep it
free of other imports: it runs without site packages, in a few milliseconds.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2]
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        sys.exit("prctl(PR_SET_PDEATHSIG) is refused")
    if os.getppid() != parent:
        sys.exit("the parent has gone already")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a broker's memory has what is on its way
    os.execv(program, sys.argv[2:])  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main()
