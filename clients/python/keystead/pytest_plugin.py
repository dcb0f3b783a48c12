"""pytest plugin: the fixture ``keystead`` is a lab.

::

    @pytest.mark.keystead(file="edge", seed=7)
    def test_runbook(keystead):
        keystead.power_loss("esxi-001")
        keystead.wait("vm.running=all", within="10m")

The mark takes what ``keystead.Lab`` takes; without it the lab is ``default``, simulated, seed 1.
Tests with the same mark share one lab in a session, or in each worker of xdist, and each finds it
as if it was new. After a failure the test's report has the seed, the requests, what is not well,
and the path of a page that shows it: in ``keystead-report`` beside the file of ``--junit-xml``, or
in the root folder of the tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from keystead.connection import KeysteadError
from keystead.lab import Lab

_EVENTS = 10  # the last ones, shown after a failure
_LAB = pytest.StashKey[Lab]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    text = "keystead(file=..., mode='sim', seed=1, ...): the lab of a test, see keystead.Lab"
    config.addinivalue_line("markers", text)


@pytest.fixture(scope="session")
def keystead_labs() -> Iterator[dict[str, Lab]]:
    """The labs of this session, by what their marks say."""
    labs: dict[str, Lab] = {}
    try:
        yield labs
    finally:
        for lab in labs.values():
            lab.close()


@pytest.fixture
def keystead(request: pytest.FixtureRequest, keystead_labs: dict[str, Lab]) -> Lab:
    """A lab that is well: started for the first test that has this mark, reset for others."""
    mark = request.node.get_closest_marker("keystead")
    wanted: dict[str, Any] = {"seed": 1, **(mark.kwargs if mark else {})}
    if mark and mark.args:
        if len(mark.args) > 1 or "file" in mark.kwargs:
            raise pytest.UsageError("pytest.mark.keystead has one argument without a name: file")
        [wanted["file"]] = mark.args
    beside = request.path.parent / str(wanted.get("file"))
    if beside.is_file():  # wherever pytest was started
        wanted["file"] = beside
    key = json.dumps(wanted, sort_keys=True, default=str)
    lab = keystead_labs.get(key)
    if lab is None:
        lab = Lab(**wanted)
        lab.__enter__()
        keystead_labs[key] = lab
    else:
        lab.reset()
    request.node.stash[_LAB] = lab
    request.node.user_properties.append(("keystead_seed", lab.seed))
    return lab


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the lab's story to the report of a test that failed, or of a fixture on the lab."""
    report = yield
    lab = item.stash.get(_LAB, None)
    if lab is not None and report.failed and report.when != "teardown":
        told = _tell(lab)
        with suppress(KeysteadError, OSError):  # a lab that has gone has no page
            page = _write_page(item, lab)
            told = f"page: {page}\n{told}"
            item.user_properties.append(("keystead_page", str(page)))
        report.sections.append(("keystead", told))
    return report


def _write_page(item: pytest.Item, lab: Lab) -> Path:
    beside = getattr(item.config.option, "xmlpath", None)
    folder = Path(beside).absolute().parent if beside else item.config.rootpath
    page = folder / "keystead-report" / f"{re.sub(r'[^A-Za-z0-9]+', '-', item.nodeid)}.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(lab.page(item.nodeid), "utf-8")
    return page


def _tell(lab: Lab) -> str:
    requests = [json.dumps(request) for request in lab.given]  # before those of this text
    lines = [f"mode {lab.mode}, seed {lab.seed}"]
    if lab.mode == "sim":
        lines.append("to replay it, give these lines to `keystead api`:")
    lines += requests
    try:
        for vm in lab.get_vms().items:
            if vm.power != "poweredOn" or vm.crypto == "locked":
                lines.append(f"{vm.vm} on {vm.host}: {vm.power}, {vm.crypto}")
        events = lab.events().items[-_EVENTS:]
        lines += [f"{event.sequence:6} {event.event}: {event.text}" for event in events]
    except KeysteadError as error:  # a vCenter that is down is a reason to fail, too
        lines.append(str(error))
    return "\n".join(lines)
