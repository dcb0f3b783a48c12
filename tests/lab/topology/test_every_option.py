"""One Lab file makes one lab: each option means the same in the simulation and on real processes.

Two labs of real processes are played, with as many options as fit into each. An option that the
Lab file gets later needs a play, or the first test fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.brokers.foreign_servers import broker_config
from lab.client import Lab
from lab.local.labs import lab_file
from lab.local.remote import Remote
from lab.state.state_folder import LabFolder
from lab.topology.lab_file import LabFile, load
from lab.topology.plan import plan
from tests.lab.brokers.theirs import Theirs, certificate
from tests.lab.machines.test_story import joined
from tests.lab.topology.every_option import (
    PLACED,
    PLAYS,
    Told,
    file_of,
    options,
    seen_from_inside,
    spread,
    told,
    told_of_machines,
)


def test_each_option_of_the_lab_file_has_a_play() -> None:
    assert sorted(options()) == sorted([*PLAYS, *PLACED])


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text("a passphrase of several words\n")
    path.chmod(0o600)
    return path


def elsewhere(folder: Path) -> dict[str, Any]:
    """A bus of somebody else: the simulation carries its messages in memory, and asks nobody."""
    return {"url": "tls://127.0.0.1:1", "authority": str(folder / "ca.pem"), "account": "OURS"}


def said(told: Told) -> dict[str, object]:
    """What the lab says of each option."""
    return {option: play.says(told) for option, play in PLAYS.items()}


MEANT = {option: play.means for option, play in PLAYS.items()}


@pytest.mark.slow
@pytest.mark.sim
async def test_the_simulation_does_as_each_option_says(passphrase: Path) -> None:
    file = file_of(passphrase, elsewhere(passphrase.parent))
    async with Lab("sim", topology=file, seed=3) as lab:
        assert said(await told(lab)) == MEANT


@pytest.mark.slow
@pytest.mark.lab
@pytest.mark.tpm
async def test_real_processes_do_as_each_option_says(passphrase: Path) -> None:
    folder = passphrase.parent
    pem = certificate(folder, "theirs")
    server = Theirs(folder / "server", "", _tls(pem))
    bus = {"url": "", "authority": str(pem), "account": "OURS"}
    server.write(
        broker_config(plan(load(file_of(passphrase, {**bus, "url": "tls://127.0.0.1:1"}))))
    )
    await server.start()
    try:
        file = file_of(passphrase, {**bus, "url": f"tls://127.0.0.1:{server.port}"})
        async with Lab("lab", topology=file, seed=3) as lab:
            assert said(await told(lab)) == MEANT
    finally:
        await server.stop()


def _tls(pem: Path) -> str:
    return f'tls {{ cert_file: "{pem}", key_file: "{pem.with_suffix(".key")}" }}'


@pytest.mark.parametrize("make", [file_of, spread])
def test_a_lab_that_is_started_again_is_that_of_its_file(
    make: Callable[..., dict[str, Any]], passphrase: Path
) -> None:
    """What `up` stores in the lab's folder is read by each later start."""
    path = passphrase.with_name("lab.yaml")
    given = (passphrase, elsewhere(path.parent)) if make is file_of else (path.parent,)
    path.write_text(json.dumps(make(*given)))
    stored = json.loads(json.dumps(lab_file(str(path), {}, make(*given)["name"])))
    assert plan(LabFile.model_validate(stored)) == plan(load(path))


@pytest.mark.slow
@pytest.mark.sim
async def test_where_nodes_stand_is_nothing_to_the_simulation(tmp_path: Path) -> None:
    file = spread(tmp_path)
    async with Lab("sim", topology=file, seed=3) as lab:
        placed = await told_of_machines(lab.do, tmp_path)
    here = {name: value for name, value in file.items() if name not in ("machines", "datastores")}
    here["clusters"] = file["clusters"][:2]  # the third is of a pool of machines
    async with Lab("sim", topology=here, seed=3) as lab:
        in_one_place = await told_of_machines(lab.do, tmp_path)
    assert seen_from_inside(placed) == seen_from_inside(in_one_place)
    assert {option: play.says(placed) for option, play in PLACED.items()} == {
        option: play.simulated for option, play in PLACED.items()
    }


@pytest.mark.lab
@pytest.mark.slow
async def test_a_lab_on_two_machines_is_that_of_the_simulation(tmp_path: Path) -> None:
    common = tmp_path / "common"
    common.mkdir()
    async with Lab("sim", topology=spread(common), seed=3) as lab:
        simulated = await told_of_machines(lab.do, common)
    with joined(tmp_path, spread(common)):
        async with Remote(LabFolder("far")) as remote:
            real = await told_of_machines(remote.do, common)
    assert seen_from_inside(real) == seen_from_inside(simulated)
    assert {option: play.says(real) for option, play in PLACED.items()} == {
        option: play.real for option, play in PLACED.items()
    }
