"""podman with settings and a store of its own, and docker-compose on its socket."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import psutil

from tests.lab.cli.conftest import Cli, until

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("podman", "docker-compose", "mmdebstrap", "runc", "catatonit", "aardvark-dns", "nft")
PLACES = "/usr/lib/podman:/usr/libexec/podman:/usr/sbin:/sbin"


def missing() -> str:
    """Why no container can be run here; empty when one can."""
    if os.geteuid():
        return "not root"
    path = f"{os.environ.get('PATH', '')}:{PLACES}"
    lacking = [name for name in NEEDED if shutil.which(name, path=path) is None]
    return f"not installed: {', '.join(lacking)}" if lacking else ""


class Engine:
    """podman with settings and a store of its own, and its socket for docker-compose."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder, self._stopping = folder, threading.Event()
        # Networks are the machine's: another engine's are called otherwise, and stay.
        self.project = f"keystead-{os.getpid()}"
        _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
        _, processes = resource.getrlimit(resource.RLIMIT_NPROC)
        self._limits = [f"nofile={files}:{files}", f"nproc={processes}:{processes}"]
        (folder / "containers.conf").write_text(
            f"[containers]\ndefault_ulimits = {json.dumps(self._limits)}\n"
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            "compat_api_enforce_docker_hub = false\n"  # the image's short name is this store's
        )
        # Beside the store, which remembers it: healths are written to the first one for ever.
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{store}"\nrunroot = "{store}.run"\n'
        )
        self.env = {
            **os.environ,
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
            "DOCKER_HOST": f"unix://{folder}/s",
            "KEYSTEAD_PORT": "0",
            "COMPOSE_PROJECT_NAME": self.project,
        }
        self._service: subprocess.Popen[bytes] | None = None
        self._looking = threading.Thread(target=self._look, daemon=True)

    def podman(self, *words: str, within_s: float = 60) -> str:
        done = subprocess.run(
            ["podman", *words], env=self.env, capture_output=True, text=True, timeout=within_s
        )
        if done.returncode:
            raise AssertionError(f"podman {' '.join(words)}: {done.stderr[-2000:]}")
        return done.stdout

    def compose(self, *words: str, within_s: float = 120, stdin: str = "") -> str:
        done = subprocess.run(
            ["docker-compose", "-f", str(ROOT / "compose.yaml"), *words],
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=within_s,
        )
        if done.returncode:
            raise AssertionError(f"{' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """docker-compose, without waiting for its end."""
        with (self.folder / "compose.log").open("wb") as log:
            return subprocess.Popen(
                ["docker-compose", "-f", str(ROOT / "compose.yaml"), *words],
                env=self.env,
                stdout=log,
                stderr=log,
            )

    def build(self) -> None:
        """The image, from a base that is made of packages."""
        base, name = self.folder / "base.tar", "localhost/keystead-base:trixie"
        if name not in self.podman("images", "--format", "{{.Repository}}:{{.Tag}}"):
            made = ["mmdebstrap", "--quiet", "--variant=minbase", "trixie", str(base)]
            subprocess.run(made, check=True, capture_output=True, timeout=300)
            self.podman("import", "-q", str(base), name)
            base.unlink()
        trusted = "/etc/ssl/certs/ca-certificates.crt"
        secrets = ["--secret", f"id=certificates,src={trusted}"] if Path(trusted).exists() else []
        self.podman(
            *(
                "build",
                "--isolation=chroot",
                "--network=host",
                f"--build-arg=BASE={name}",
                *secrets,
            ),
            *(word for limit in self._limits for word in ("--ulimit", limit)),
            *("-t", "keystead:latest", str(ROOT)),
            within_s=600,
        )

    def start(self) -> None:
        words = ["podman", "system", "service", "--time=0", f"unix://{self.folder}/s"]
        with (self.folder / "service.log").open("wb") as log:
            self._service = subprocess.Popen(words, env=self.env, stdout=log, stderr=log)
        assert until(lambda: (self.folder / "s").exists(), 20)
        self._looking.start()

    def _look(self) -> None:
        """What systemd's timers would do: ask those that are not well yet, and that others wait
        for."""
        waiting = ("ps", "--filter", "health=starting", "--format", "{{.Names}}")
        while not self._stopping.wait(0.5):
            try:
                for name in self.podman(*waiting).split():
                    if "-esxi-" not in name:
                        self.is_well(name)
            except (AssertionError, subprocess.TimeoutExpired):
                continue

    def is_well(self, name: str) -> bool:
        """Ask a container for its health, as an engine does."""
        done = subprocess.run(
            ["podman", "healthcheck", "run", name], env=self.env, capture_output=True, timeout=20
        )
        return done.returncode == 0

    def cpu_s(self) -> dict[str, float]:
        """Seconds of processors that each container that runs has used, by its name."""
        return {c["Names"][0]: _used(c["Id"]) for c in self.containers() if c["State"] == "running"}

    def own_cpu_s(self) -> float:
        """What podman's service has used itself, and docker-compose, and commands of podman."""
        commands = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = commands.ru_utime + commands.ru_stime
        if self._service is not None:
            used += sum(psutil.Process(self._service.pid).cpu_times()[:4])
        return used

    def containers(self) -> list[dict[str, Any]]:
        return list(json.loads(self.podman("ps", "-a", "--format", "json")))

    def end(self) -> None:
        self._stopping.set()
        if self._looking.is_alive():
            self._looking.join(30)
        if self._service is not None:
            self._service.terminate()
            self._service.wait(20)


def _used(container: str) -> float:
    """What a container's control group counts."""
    top = Path("/sys/fs/cgroup")
    for found in (top / "cpuacct").rglob(f"libpod-{container}/cpuacct.usage"):
        return int(found.read_text()) / 1e9
    for found in top.rglob(f"libpod-{container}*/cpu.stat"):
        (line,) = [x for x in found.read_text().splitlines() if x.startswith("usage_usec")]
        return int(line.split()[1]) / 1e6
    return 0.0


def attached(engine: Engine, outside: Cli) -> None:
    """Let commands outside reach the lab."""
    port = engine.compose("port", "supervisor", "4333").strip().rpartition(":")[2]
    at = ("--address", f"127.0.0.1:{port}")
    access = engine.compose("exec", "-T", "supervisor", "keystead", "lab", "access", *at)
    outside.home.mkdir(parents=True, exist_ok=True)
    (outside.home / "access").write_text(access)
    outside.ok("lab", "attach", str(outside.home / "access"))
