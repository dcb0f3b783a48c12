"""The scan of a simulated run: all that was said on its bus, and all that it left anywhere.

A canary is put into each sort of place in another form, and must be found there: a scan that does
not find it has looked at nothing, and proves nothing. It is put there after the last look of the
run, in a lab that ends with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from chaos.draws import Draws
from chaos.history import History
from lab.scan import ledger
from lab.scan.search import CANARY, SearchedPlace, search_and_count, write
from lab.simulation.sim_lab import SimLab
from protocol.messages.agent import NodeRecord
from services.runtime.seeded import derive


class Scan:
    """Records the bus of ``lab`` from now on, beside other taps."""

    def __init__(self, lab: SimLab) -> None:
        self._lab = lab
        self._wire: list[SearchedPlace] = []
        before = lab.broker.tap

        def hear(subject: str, reply: str, payload: bytes) -> None:
            self._wire.append(bus_place(subject, reply, payload))
            if before is not None:
                before(subject, reply, payload)

        lab.broker.tap = hear

    async def record(self, history: History) -> None:
        """Search everything, and write down what was found where: kinds of keys, never bytes."""
        canary = Draws(derive(self._lab.seed, CANARY), CANARY).token(32)
        logs = self._plant(canary)
        places = [
            *self._wire,
            *at_rest(self._lab),
            *log_places(logs),
            *history_places(history),
            SearchedPlace("history", CANARY, msgspec.json.encode({"data": repr(canary)})),
        ]
        secrets = {**ledger.seen, **self._lab.world.identities()}
        found, sorts = search_and_count(secrets, canary, places)
        write(history, found, sorts, len(secrets), kept=ledger.kept())

    def _plant(self, canary: bytes) -> Sequence[NodeRecord]:
        """Raw on a disk, in hexadecimal on a datastore, backwards on the bus, and so on; the log
        with one line more."""
        self._wire.append(bus_place(f"e.{CANARY}", "", b"x" + canary[::-1]))
        store = next(iter(self._lab.world.stores.values()))
        store.on_disk.write(CANARY, b"xyz" + canary)
        for held in self._lab.world.stores.values():
            for drive in held.drives.values():
                drive.durable = (drive.durable or b"") + canary.hex().encode()
        for array in self._lab.world.arrays.values():
            array.folders.setdefault(CANARY, {})[CANARY] = bytearray(canary.hex().upper().encode())
        last = self._lab.records[-1]
        line = msgspec.structs.replace(last, kind=CANARY, fields={"text": canary.hex()})
        return [*self._lab.records, line]


def bus_place(subject: str, reply: str, payload: bytes) -> SearchedPlace:
    """A message as the broker lets it in."""
    return SearchedPlace("bus", subject, f"{subject} {reply} ".encode() + payload)


def at_rest(lab: SimLab) -> Iterator[SearchedPlace]:
    """Every byte on disks, their copies, databases and datastores."""
    for node, store in lab.world.stores.items():
        for path, data in store.images():
            kind = "database" if path.startswith("databases/") else "disk"
            yield SearchedPlace(kind, f"{node}/{path}", data)
        for label, database, path, data in store.walk_copies():
            kind = "database" if database else "disk"
            yield SearchedPlace(kind, f"copies/{node}/{label}/{path}", data)
    for name, array in lab.world.arrays.items():
        for path, data in array.images():
            yield SearchedPlace("datastore", f"{name}/{path}", data)


def log_places(records: Sequence[NodeRecord]) -> Iterator[SearchedPlace]:
    """The lines of all nodes' logs."""
    for record in records:
        yield SearchedPlace("log", f"{record.node}:{record.kind}", msgspec.json.encode(record))


def history_places(history: History) -> Iterator[SearchedPlace]:
    """The records of a run's history."""
    for line in history.records:
        yield SearchedPlace("history", f"{line.type}:{line.op}", msgspec.json.encode(line))


def summary(places: Sequence[SearchedPlace]) -> dict[str, Any]:
    """Bytes looked at by sort of place."""
    looked: Counter[str] = Counter()
    for place in places:
        looked[place.kind] += len(place.data)
    return dict(looked)
