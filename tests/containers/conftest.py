"""An engine for all tests of containers: it needs root, podman, docker-compose and mmdebstrap, and
they are skipped where one of these is missing or no container can run.

Everything lies in a folder of its own. ``KEYSTEAD_CONTAINER_STORE`` names one that stays, so that
the next run has the image's layers already.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.engine import Engine, missing


@pytest.fixture(scope="session")
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
