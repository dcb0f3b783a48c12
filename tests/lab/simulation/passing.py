"""What the tests of points run, in the process of a run."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from chaos.points import Blow, When
from lab.schema.commands import VmCreate
from lab.schema.errors import KeysteadError
from lab.serve.session import LabSession
from lab.serve.table import perform
from lab.simulation.points import Passage, Points
from lab.simulation.sim_lab import SimLab
from protocol.messages.agent import NodeRunState
from protocol.terms import NodeName

HOST, VCENTER, KMS = NodeName("esxi-001"), NodeName("vcenter"), NodeName("kms")
ARCHIVE = "bootbank/state.tgz"


def story(lab: SimLab, session: LabSession) -> bool:
    """A VM under a new key: all three stores write. Whether it was answered."""
    with suppress(KeysteadError):
        lab.run(perform(session, VmCreate("new", encrypted=True)))
        return True
    return False


def recorded(lab: SimLab, session: LabSession) -> tuple[list[Passage], str]:
    passages: list[Passage] = []
    with Points(lab, (HOST, VCENTER, KMS), hear=passages.append):
        assert story(lab, session)
    return passages, lab.loop.trace.hash()


def unwatched(lab: SimLab, session: LabSession) -> str:
    assert story(lab, session)
    return lab.loop.trace.hash()


def sizes(lab: SimLab, node: NodeName, path: str) -> tuple[int, int]:
    """Bytes of the file as written, and as synced."""
    images = lab.world.store(node).on_disk
    found = [dict(images.walk(synced=synced))[path] for synced in (False, True)]
    return len(found[0]), len(found[1])


def at_file(lab: SimLab, session: LabSession, call: str, blow: Blow) -> dict[str, Any]:
    """What lies on the host's disk when ``blow`` fell at the first ``call`` of its archive, and
    how the host is then."""
    found: dict[str, Any] = {"old": sizes(lab, HOST, ARCHIVE)[0]}
    with Points(lab, (HOST,)) as points:
        struck = points.arm(blow, node=HOST, call=call, path=ARCHIVE)
        found["answered"] = story(lab, session)
        assert struck.passage is not None
        status = lab.run(lab.status(HOST))
    found["state"], found["passage"] = status.state, struck.passage
    found["is"] = sizes(lab, HOST, ARCHIVE)
    return found


def appended(lab: SimLab, session: LabSession) -> tuple[int, int]:
    """How large the host's archive is before and after its first append."""
    found = [sizes(lab, HOST, ARCHIVE)[0]]

    def look(passage: Passage, when: When) -> None:
        if passage.point.call == "disk.append" and when is When.AFTER:
            found.append(sizes(lab, HOST, ARCHIVE)[0])

    with Points(lab, (HOST,), decide=look):
        assert story(lab, session)
    return found[0], found[1]


def at_commit(lab: SimLab, session: LabSession, blow: Blow) -> dict[str, Any]:
    """Whether the key server has the key that its first commit makes, then and after a restart."""

    def keys() -> int:
        drive = lab.world.store(KMS).drives["keys"]
        return int(drive.connection.execute("SELECT count(*) FROM keys").fetchone()[0])

    before = keys()
    after: list[int] = []
    with Points(lab, (KMS,), hear=lambda passage: after.append(keys())) as points:
        struck = points.arm(blow, node=KMS, call="db.commit", function="group_commit.*")
        answered = story(lab, session)
        assert struck.passage is not None
        state = lab.run(lab.status(KMS)).state
    lab.run(lab.power_off(KMS, "power_loss"))
    made = keys() - before
    lab.run(lab.power_on(KMS))
    assert lab.run(lab.status(KMS)).state is NodeRunState.RUNNING
    return {"answered": answered, "made": made, "state": state}


def nth(lab: SimLab, session: LabSession) -> list[str]:
    """The passages that three patterns have met, one of them twice asked, one that never comes."""
    met: list[str] = []
    with Points(lab, (HOST, KMS)) as points:
        for pattern, number in (("disk.*", 2), ("db.*", 1), ("tape.*", 1)):
            points.arm(None, call=pattern, nth=number, met=lambda p: met.append(str(p)))
        assert story(lab, session)
    assert all(lab.world.store(node).gate is None for node in (HOST, KMS))
    return met
