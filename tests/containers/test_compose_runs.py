"""The compose file for real: an image is made without any image registry, a lab comes up, an
experiment is played on it, a container is killed and comes back, and nothing is left at the end.

It needs root, podman, docker-compose and mmdebstrap, and is skipped where one of them is missing or
no container can run. Everything lies in a folder of its own. ``KEYSTEAD_CONTAINER_STORE`` names one
that stays, so that the next run has the image's layers already.

It is as slow as compiling a package for two minutes and an experiment are: nothing less shows that
the files are right.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.cli.conftest import Cli, until

pytestmark = [pytest.mark.container, pytest.mark.slow, pytest.mark.lab, pytest.mark.timeout(1200)]

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("podman", "docker-compose", "mmdebstrap", "runc", "catatonit", "aardvark-dns", "nft")
PLACES = "/usr/lib/podman:/usr/libexec/podman:/usr/sbin:/sbin"
HOSTS = 3


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
        _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
        _, processes = resource.getrlimit(resource.RLIMIT_NPROC)
        self._limits = [f"nofile={files}:{files}", f"nproc={processes}:{processes}"]
        (folder / "containers.conf").write_text(
            f"[containers]\ndefault_ulimits = {json.dumps(self._limits)}\n"
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            "compat_api_enforce_docker_hub = false\n"  # the image's short name is this store's
        )
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{store}"\nrunroot = "{folder}/run"\n'
        )
        self.env = {
            **os.environ,
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
            "DOCKER_HOST": f"unix://{folder}/s",
            "KEYSTEAD_PORT": "0",
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

    def build(self) -> None:
        """The image, from a base that is made of packages."""
        base = self.folder / "base.tar"
        if "debian:trixie-slim" not in self.podman(
            "images", "--format", "{{.Repository}}:{{.Tag}}"
        ):
            made = ["mmdebstrap", "--quiet", "--variant=minbase", "trixie", str(base)]
            subprocess.run(made, check=True, capture_output=True, timeout=300)
            self.podman("import", "-q", str(base), "debian:trixie-slim")
            base.unlink()
        trusted = "/etc/ssl/certs/ca-certificates.crt"
        secrets = ["--secret", f"id=certificates,src={trusted}"] if Path(trusted).exists() else []
        self.podman(
            *("build", "--isolation=chroot", "--network=host", *secrets),
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
        """What systemd's timers would do: ask those that are not well yet."""
        while not self._stopping.wait(0.3):
            try:
                waiting = self.podman("ps", "-q", "--filter", "health=starting").split()
                for container in waiting[:HOSTS]:
                    subprocess.run(
                        ["podman", "healthcheck", "run", container],
                        env=self.env,
                        capture_output=True,
                        timeout=20,
                    )
            except (AssertionError, subprocess.TimeoutExpired):
                continue

    def containers(self) -> list[dict[str, Any]]:
        return list(json.loads(self.podman("ps", "-a", "--format", "json")))

    def end(self) -> None:
        self._stopping.set()
        if self._looking.is_alive():
            self._looking.join(30)
        if self._service is not None:
            self._service.terminate()
            self._service.wait(20)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if why := missing():
        pytest.skip(f"no container can be run here: {why}")
    folder = tmp_path_factory.mktemp("engine")
    kept = os.environ.get("KEYSTEAD_CONTAINER_STORE")
    made = Engine(folder, Path(kept) if kept else folder / "store")
    try:
        try:
            made.podman("info")
        except AssertionError as error:
            pytest.skip(f"no container can be run here: {error}")
        made.build()
        made.start()
        yield made
    finally:
        made.end()
        if not kept:
            subprocess.run(["podman", "system", "reset", "-f"], env=made.env, capture_output=True)


def items(outside: Cli, *words: str) -> list[dict[str, Any]]:
    ran = outside("get", *words, "-n", "compose", "-o", "json")
    return ran.items() if ran.code == 0 else []


def test_a_lab_in_containers_from_its_image_to_its_end(engine: Engine, tmp_path: Path) -> None:
    outside = Cli(tmp_path / "outside")
    try:
        begun = time.monotonic()
        engine.compose("up", "-d", "--no-build", "--scale", f"esxi={HOSTS}", within_s=300)
        port = engine.compose("port", "supervisor", "4333").strip().rpartition(":")[2]
        at = ("--address", f"127.0.0.1:{port}")
        access = engine.compose("exec", "-T", "supervisor", "keystead", "lab", "access", *at)
        (tmp_path / "access").write_text(access)
        outside.ok("lab", "attach", str(tmp_path / "access"))

        def running(count: int) -> bool:
            hosts, vms = items(outside, "hosts"), items(outside, "vms")
            up = [h for h in hosts if (h["connection"], h["machine"]) == ("connected", "running")]
            on = [vm for vm in vms if (vm["power"], vm["crypto"]) == ("poweredOn", "unlocked")]
            return len(up) == len(on) == count

        assert until(lambda: running(HOSTS), 120), items(outside, "hosts")
        print(f"{HOSTS} hosts are ready after {time.monotonic() - begun:.1f} s")
        _may_do_no_more_than_it_must(engine)
        _experiment(engine)
        _killed_and_back(engine, outside)
    finally:
        engine.compose("down", "-v", "--timeout", "20", within_s=200)
    assert engine.containers() == []
    assert engine.podman("volume", "ls", "-q").split() == []
    assert engine.podman("network", "ls", "-q", "--filter", "name=keystead").split() == []


def _may_do_no_more_than_it_must(engine: Engine) -> None:
    """What the file asks for is in force."""
    ask = "id -u; touch /x /opt/keystead/x 2>&1; grep -E '^(CapEff|NoNewPrivs)' /proc/self/status"
    told = engine.compose("exec", "-T", "esxi", "sh", "-c", ask)
    assert told.split("\n")[0] == "10001" and told.count("Read-only file system") == 2
    assert "CapEff:\t0000000000000000" in told and "NoNewPrivs:\t1" in told


def _experiment(engine: Engine) -> None:
    """E1: key server and vCenter out of reach, then every host loses power."""
    words = ("keystead", "chaos", "run", "edge-outage-reboot", "--mode", "lab", "--on", "compose")
    told = engine.compose("exec", "-T", "supervisor", *words, within_s=300)
    assert "PASS (exit 0)" in told


def _killed_and_back(engine: Engine, outside: Cli) -> None:
    """A container that is killed is a machine without power: its host boots with its own TPM."""
    first = next(c for c in engine.containers() if "-esxi-1" in c["Names"][0])
    name = first["Id"][:12]
    boots = {host["host"]: host["boot"] for host in items(outside, "hosts")}
    engine.podman("kill", name)

    def stands(standing: str) -> bool:
        machines = {m["machine"]: m["standing"] for m in items(outside, "machines")}
        return machines.get(name) == standing

    assert until(lambda: stands("away"), 60)
    engine.podman("start", name)
    assert until(lambda: stands("joined"), 60)

    def again() -> bool:
        booted = [h for h in items(outside, "hosts") if h["boot"] > boots[h["host"]]]
        seen = [(host["connection"], host["crypto_state"]) for host in booted]
        return seen == [("connected", "safe")]

    assert until(again, 90), items(outside, "hosts")
    engine.podman("healthcheck", "run", name)
