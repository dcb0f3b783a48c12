"""File systems that lack something: mounts in a mount namespace of a child's own, and a library in
front of the C library whose locks and syncs do what a bad file system's do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.supervise.launching import ROOT

BAD_CALLS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
static int bad(const char *call, int fd) {
    const char *all = getenv("BAD_CALLS"), *under = getenv("BAD_UNDER");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!all || !under || length < 0) return 0;
    path[length] = 0;
    return strstr(all, call) && !strncmp(path, under, strlen(under));
}
static int lock(int (*real)(int, int, ...), int fd, int command, void *argument) {
    if (command == F_OFD_SETLK && bad("no-locks", fd)) { errno = EOPNOTSUPP; return -1; }
    if (command == F_OFD_SETLK && bad("own-locks", fd)) return 0;
    return real(fd, command, argument);
}
int fcntl(int fd, int command, ...) {
    va_list rest; va_start(rest, command); void *argument = va_arg(rest, void *); va_end(rest);
    return lock(dlsym(RTLD_NEXT, "fcntl"), fd, command, argument);
}
int fcntl64(int fd, int command, ...) {
    va_list rest; va_start(rest, command); void *argument = va_arg(rest, void *); va_end(rest);
    return lock(dlsym(RTLD_NEXT, "fcntl64"), fd, command, argument);
}
int fsync(int fd) {
    struct stat what;
    if (bad("no-fsync", fd)) { errno = EIO; return -1; }
    if (bad("no-folders", fd) && !fstat(fd, &what) && S_ISDIR(what.st_mode)) {
        errno = EINVAL; return -1;
    }
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    return real(fd);
}
"""

TRY = """
import sys
from pathlib import Path
from lab.arrays.shared_datastore import SharedDatastore
from lab.schema.errors import KeysteadError
place = SharedDatastore(Path(sys.argv[1]), "common", "east")
try:
    place.show("far", "the id", True)
except KeysteadError as error:
    print(error.id, error)
else:
    print("fits")
"""


@pytest.fixture(scope="session")
def bad_calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library; ``BAD_CALLS`` in the environment names what is bad, ``BAD_UNDER`` where."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("bad") / "bad.so"
    source = library.with_suffix(".c")
    source.write_text(BAD_CALLS)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return library


def tried(folder: Path, *before: str, **environment: str) -> str:
    """What a machine says of a folder, tried in a process of its own."""
    ran = subprocess.run(
        [*before, sys.executable, "-c", TRY, str(folder)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def mounted(*commands: str) -> tuple[str, ...]:
    """Words before a program that runs in a mount namespace in which these commands were run."""
    own = ("unshare", "--mount", "--propagation", "private")
    if shutil.which("unshare") is None or subprocess.run([*own, "true"]).returncode:
        pytest.skip("this user may not have a mount namespace")
    return (*own, "sh", "-ec", "; ".join((*commands, 'exec "$@"')), "sh")


DEAD_MOUNT = """
import ctypes, os, sys
c, at = ctypes.CDLL(None, use_errno=True), sys.argv[1].encode()
if c.unshare(0x20000) or c.mount(b"none", b"/", None, 1 << 18 | 1 << 14, None):
    sys.exit(77)
fuse = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0".encode()
if c.mount(b"dead", at, b"fuse", 0, options):
    sys.exit(77)
os.close(fuse)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def dead_mount(at: Path) -> tuple[str, ...]:
    """Words before a program that sees at ``at`` a FUSE file system whose server has died."""
    words = (sys.executable, "-c", DEAD_MOUNT, str(at))
    if not os.access("/dev/fuse", os.R_OK | os.W_OK) or subprocess.run([*words, "true"]).returncode:
        pytest.skip("this user may not mount a FUSE file system")
    return words
