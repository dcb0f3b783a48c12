"""What other programs read of the page's server: metrics for Prometheus, events as CloudEvents.

Labels of metrics are states and kinds, which are few; never names of hosts, VMs or keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from lab.cli.watch.scene import LabAnswers, Tile, scene_of_lab
from lab.cli.watch.web.looking import Looker
from lab.schema.answers import LoggedEvent
from lab.schema.errors import KeysteadError
from lab.serve.following import all_events

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def metrics(seen: LabAnswers) -> str:
    """The lab as it answered last, in Prometheus' text format."""
    scene = scene_of_lab(seen)
    locks = Counter(str(vm.crypto.value) if vm.crypto else "none" for vm in seen.vms)
    kinds = Counter(fault.kind for fault in seen.faults)
    keys = {} if scene.keys is None else vars(scene.keys)
    lines = [
        *_gauge("hosts", "Hosts by encryption mode, or by what keeps them from one.", "state",
                _by_state(scene.hosts)),
        *_gauge("vms", "VMs by state.", "state", _by_state(scene.vms)),
        *_gauge("vm_locks", "VMs by crypto state.", "state", locks),
        *_gauge("servers", "vCenters, key servers and services by state.", "state",
                _by_state(scene.servers)),
        *_gauge("faults_active", "Faults in force.", "kind", kinds),
        *_gauge("keys", "Keys in the memory of hosts, kept by a TPM, missing.", "where", keys),
        *_gauge("vcenter_answers", "1 while vCenter answers.", "", {"": int(not seen.away)}),
        *_gauge("lab_time_seconds", "Lab seconds since the lab began.", "",
                {"": seen.status.lab_time}),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _by_state(tiles: Iterable[Tile]) -> Counter[str]:
    return Counter(tile.state for tile in tiles)


def _gauge(name: str, help: str, label: str, values: Mapping[str, float]) -> list[str]:
    rows = [
        f'keystead_{name}{{{label}="{value}"}} {count:.15g}'
        if label
        else f"keystead_{name} {count:.15g}"
        for value, count in sorted(values.items())
    ]
    return [f"# HELP keystead_{name} {help}", f"# TYPE keystead_{name} gauge", *rows]


async def cloud_events(looker: Looker, lab: str, after: int) -> AsyncIterator[bytes]:
    """vCenter's events above the number ``after`` as server-sent events, each a CloudEvent in JSON;
    those that come follow, without end. The number is the id, so that a client which comes again
    has lost none."""
    news = looker.follow()
    try:
        async for _ in news:
            seen = looker.seen
            if seen is None or not seen.events or seen.events[-1].sequence <= after:
                yield b": nothing new\n\n"
                continue
            try:
                found = await all_events(looker.lab.do, after)
            except KeysteadError:
                continue  # vCenter has gone since; the next look says so
            for event in found:
                data = msgspec.json.encode(cloud_event(event, lab))
                yield b"id: %d\nevent: cloudevent\ndata: %s\n\n" % (event.sequence, data)
                after = event.sequence
    finally:
        await news.aclose()


def cloud_event(event: LoggedEvent, lab: str) -> dict[str, Any]:
    """An entry of vCenter's log in the JSON format of CloudEvents 1.0."""
    named = {
        name: str(value)
        for name in ("host", "vm", "provider")
        if (value := getattr(event, name)) is not None
    }
    subject = named.get("vm") or named.get("host") or named.get("provider")
    return {
        "specversion": "1.0",
        "id": str(event.sequence),
        "source": f"urn:keystead:lab:{lab}",
        "type": str(event.event.value),
        "time": datetime.fromtimestamp(event.at, UTC).isoformat().replace("+00:00", "Z"),
        **({"subject": subject} if subject else {}),
        "datacontenttype": "application/json",
        "data": {"text": event.text, **named, "keys": list(map(str, event.keys))},
    }
