"""A machine as ``./keystead`` sees it: real shell, real files, and stand-ins for what it calls.

The script under test is the real one, copied into a checkout of its own. What would reach the
system or the network is a program of ours that writes down how it was called: apt-get, dpkg-query,
sudo, id, and an interpreter whose ``-m venv`` makes a folder with a stand-in pip, uv and keystead.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.reached.site import sitecustomize

ROOT = Path(__file__).resolve().parents[2]
_NAMED = "awk cat date dirname env grep ls mkdir mktemp readlink rm sed sha256sum sleep tail tee"
TOOLS = [*_NAMED.split(), "flock", "touch", "cp", "sh"]

_PYTHON = """\
#!/bin/sh
# Interpreter of version $VERSION: answers what ./keystead asks it.
[ "$1" = -c ] || echo "python $*" >>"$CALLS"
case $* in
    *version_info*) echo "$VERSION" ;;
    *CONFIG_ARGS*) test ! -e "$0-is-slow" ;;
    *base_prefix*) echo /usr ;;
    *'import ensurepip'*) exit "${NO_VENV:-0}" ;;
    *sysconfig*) exit "${NO_HEADERS:-0}" ;;
    '-m venv --clear '*)
        [ ! -e "$STATE/venv-fails" ] || { echo 'no space left' && exit 1; }
        rm -rf "$4"
        mkdir -p "$4/bin"
        cp "$0" "$4/bin/python"
        printf 'version = %s.1\\n' "$VERSION" >"$4/pyvenv.cfg"
        touch "$4/pip-is-here"
        ;;
    '-m pip config list') cat "$STATE/pip.conf" 2>/dev/null ;;
    '-m pip --version') test -e "${0%/bin/python}/pip-is-here" ;;
    '-m pip install'*)
        [ ! -e "$STATE/pip-fails" ] || { echo 'hashes differ' && exit 1; }
        echo "pip sees cert ${PIP_CERT:-none}" >>"$STATE/certificates"
        cp "$STATE/uv" "$STATE/keystead" "$STATE/lint-imports" "${0%/python}/"
        ;;
    '-m tests.runner'*)
        echo "tests$(echo "$*" | sed 's/^-m tests.runner//')"
        case $* in
            "-m tests.runner${RED- of nothing}" | "-m tests.runner${STILL- of nothing}")
                echo "keystead: failed: ${FAILED:-pytest}" >&2
                exit 1
                ;;
        esac
        ;;
esac
"""
_UV = """\
#!/bin/sh
echo "uv $*" >>"$CALLS"
case $* in
    --version) echo 'uv VERSION (0123456)' ;;
    *-e*) [ ! -e "$STATE/editable-fails" ] || exit 1 ;;
    *)
        [ ! -e "$STATE/uv-fails" ] || { echo 'cannot fetch' && exit 1; }
        while [ -e "$STATE/uv-hangs" ]; do touch "$STATE/hanging" && sleep 0.02; done
        for last; do :; done
        cp "$last" "$STATE/installed.txt"
        echo "uv sees ${SSL_CERT_FILE:-none} ${UV_DEFAULT_INDEX:-none}" >>"$STATE/certificates"
        echo "${UV_CACHE_DIR:-its own}" >"$STATE/cache"
        ;;
esac
"""
_APT = """\
#!/bin/sh
echo "apt-get $*" >>"$CALLS"
[ ! -e "$STATE/apt-fails" ] || { echo 'E: broken' && exit 100; }
case $* in install*) for name; do echo "$name" >>"$STATE/packages"; done ;; esac
"""
_DPKG = """\
#!/bin/sh
for last; do :; done
grep -qx "$last" "$STATE/packages" 2>/dev/null && printf installed
"""


@dataclass
class Outcome:
    """How a start ended."""

    code: int
    out: str
    err: str


def outcome_of(run: subprocess.CompletedProcess[str]) -> Outcome:
    """How it ended; the errors it told of count as reached, since the script is no Python."""
    for error_id in re.findall(r"keystead: error (KS-[A-Z]+-\d{3}): ", run.stderr):
        sitecustomize.note(sitecustomize.ERROR, error_id)
    return Outcome(run.returncode, run.stdout, run.stderr)


class Machine:
    """One checkout on one machine. ``packages`` is what dpkg knows."""

    def __init__(self, folder: Path, *, root: bool = True, debian: bool = True) -> None:
        self.checkout, self.bin, self.state = folder / "my checkout", folder / "bin", folder / "st"
        for made in (self.checkout, self.bin, self.state):
            made.mkdir()
        for name in ("keystead", "requirements.lock", "requirements-dev.lock", "pyproject.toml"):
            shutil.copy(ROOT / name, self.checkout)
        shutil.copytree(ROOT / "bootstrap", self.checkout / "bootstrap")
        (self.checkout / "lab").mkdir()
        for name in TOOLS:
            found = shutil.which(name)
            assert found, name
            (self.bin / name).symlink_to(found)
        self.calls = self.state / "calls"
        self.calls.touch()
        pinned = re.search(r"^uv==(\S+)", (ROOT / "requirements.lock").read_text("utf-8"), re.M)
        assert pinned
        self.program("python3", _PYTHON)
        self.program("uv", _UV.replace("VERSION", pinned[1]), self.state)
        cli = '#!/bin/sh\necho "cli $*"\necho "called $KEYSTEAD_COMMAND" >"$STATE/name"\n'
        self.program("keystead", cli, self.state)
        self.program("lint-imports", "#!/bin/sh\n", self.state)
        self.program("id", f"#!/bin/sh\necho {0 if root else 1000}\n")
        for name in ("gcc", "pkg-config", "cc"):
            self.program(name, "#!/bin/sh\nexit 1\n")
        if debian:
            self.program("apt-get", _APT)
            self.program("dpkg-query", _DPKG)
        self.environment = {
            "PATH": str(self.bin),
            "CALLS": str(self.calls),
            "STATE": str(self.state),
            "VERSION": "3.13",
        }

    def program(self, name: str, text: str, folder: Path | None = None) -> Path:
        """Put a program on the machine's PATH, or into ``folder``."""
        path = (folder or self.bin) / name
        path.write_text(text, "utf-8")
        path.chmod(0o755)
        return path

    def given(self, *packages: str) -> None:
        """Have these Debian packages installed already."""
        with (self.state / "packages").open("a") as file:
            file.writelines(f"{name}\n" for name in packages)

    def complete(self) -> None:
        """Have all Debian packages installed already."""
        self.given("libtpms0", "libtss2-dev", "libc6-dev")

    def told(self) -> list[str]:
        """What was called since the last time, but for questions."""
        found = self.calls.read_text("utf-8").splitlines()
        self.calls.write_text("")
        return [
            line for line in found if not line.endswith("--version") and " pip config " not in line
        ]

    def command(self, *arguments: str) -> list[str]:
        return [str(self.bin / "sh"), str(self.checkout / "keystead"), *arguments]

    def start(self, *arguments: str, **variables: str) -> Outcome:
        """``./keystead ARGUMENTS`` without a terminal."""
        run = subprocess.run(
            self.command(*arguments),
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return outcome_of(run)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, going on in a process group of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def end(process: subprocess.Popen[str], how: signal.Signals) -> tuple[str, str]:
    """Signal the whole group, as a terminal does; what it had printed."""
    os.killpg(process.pid, how)
    return process.communicate(timeout=30)
