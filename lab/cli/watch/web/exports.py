"""What other programs read of the page's server: metrics for Prometheus, events as CloudEvents.

Labels of metrics are states and kinds, which are few; never names of hosts, VMs or keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from lab.cli.watch.scene import LabAnswers, Tile, scene_of_lab
from lab.cli.watch.web.looking import Looker
from lab.schema.answers import LoggedEvent, Node
from lab.schema.errors import KeysteadError
from lab.serve.following import all_events
from protocol.messages.agent.nodes import KMS_BOUNDS_MS, kms_counter

FAILED: Final = "keystead_kms_requests_failed_total"
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
        *_kms_latency(seen.nodes),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _kms_latency(nodes: Iterable[Node]) -> list[str]:
    """A histogram for each role that asks key servers, and the requests that failed."""
    name = "keystead_kms_request_seconds"
    help = "Lab time from a request to a key server to its answer, at the client, by its role."
    rows, failed = [f"# HELP {name} {help}", f"# TYPE {name} histogram"], []
    for role, counted in sorted(_counters_by_role(nodes).items()):
        count = 0
        for bound in KMS_BOUNDS_MS:
            count += counted[kms_counter(bound)]
            rows.append(f'{name}_bucket{{role="{role}",le="{bound / 1e3:g}"}} {count}')
        count += counted[kms_counter(None)]
        rows.append(f'{name}_bucket{{role="{role}",le="+Inf"}} {count}')
        rows.append(f'{name}_sum{{role="{role}"}} {counted["kms_total_us"] / 1e6:.15g}')
        rows.append(f'{name}_count{{role="{role}"}} {count}')
        failed.append(f'{FAILED}{{role="{role}"}} {counted["kms_failed"]}')
    told = "Requests to key servers that ended in an error, by the role of the client."
    return [*rows, f"# HELP {FAILED} {told}", f"# TYPE {FAILED} counter", *failed]


def _counters_by_role(nodes: Iterable[Node]) -> dict[str, Counter[str]]:
    """The sums of what nodes counted about key servers, of the roles that asked any."""
    found: dict[str, Counter[str]] = {}
    for node in nodes:
        counted = {n: value for n, value in node.counters.items() if n.startswith("kms_")}
        if counted:
            found.setdefault(node.role.value, Counter()).update(counted)
    return found


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
    news = new_events(looker, after)
    try:
        async for events in news:
            if not events:
                yield b": nothing new\n\n"
            for event in events:
                data = msgspec.json.encode(cloud_event(event, lab))
                yield b"id: %d\nevent: cloudevent\ndata: %s\n\n" % (event.sequence, data)
    finally:
        await news.aclose()


async def new_events(looker: Looker, after: int) -> AsyncGenerator[tuple[LoggedEvent, ...]]:
    """vCenter's events above the number ``after`` whenever the lab was looked at, without end;
    empty when there was none."""
    news = looker.follow()
    try:
        async for _ in news:
            seen = looker.seen
            if seen is None or not seen.events or seen.events[-1].sequence <= after:
                yield ()
                continue
            try:
                found = await all_events(looker.lab.do, after)
            except KeysteadError:
                continue  # vCenter has gone since; the next look says so
            after = found[-1].sequence if found else after
            yield found
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
