"""Histories of a small lab, told record by record: two hosts, a VM on each, one key server.

Each record is a second after the one before; ``passes`` lets time go by with a look each second.
"""

from __future__ import annotations

from typing import Any

Row = tuple[str, str, str, dict[str, Any]]

KEK = {"vm-01": "p/k1", "vm-02": "p/k2"}
HOST_KEY = "p/h"
OTHER_KEK = {"vm-01": "p/k1", "vm-02": "q/k2"}
OTHER_KEY = "q/h"
LEADS = {"esxi-001": "vcenter", "esxi-002": "vcenter-b"}


class Story:
    """What happens, as rows of a history: node, type, op, data."""

    def __init__(
        self,
        *,
        persistence: bool,
        mode: str = "TPM",
        two: bool = False,
        pair: bool = False,
        native: str = "",
        without_tpm: tuple[str, ...] = (),
        ha: bool = False,
        drs: bool = False,
        vsan: tuple[str, ...] = (),
        trusted: bool = False,
        apart: bool = False,
        by_kmip: tuple[str, ...] = (),
        **knobs: Any,
    ) -> None:
        """``two``: beside the default provider p there is q, on a key server kms-2 of its own;
        the host key and the key of vm-02 are of q. ``pair``: p has both key servers.
        ``native``: of these providers hosts derive their keys; they are for hosts with a TPM only
        if some are ``without_tpm``. ``ha``: the cluster has vSphere HA, ``drs``: a DRS that
        chooses hosts. ``vsan``: hosts with an encrypted vSAN. ``trusted``: p is a trusted one; kps
        opens its keys, as attests hosts. ``apart``: esxi-002 has a cluster and a vCenter of its
        own, vcenter-b, that lists p too. ``by_kmip``: key servers that are asked so."""
        self.persistence, self.mode = persistence, mode
        self.boots = {"vcenter": 1, "kms": 1, "kms-2": 1, "esxi-001": 1, "esxi-002": 1}
        self.rows: list[Row] = []
        self.host_key, self.keks = (OTHER_KEY, OTHER_KEK) if two else (HOST_KEY, KEK)
        listed = {"p": ["kms", "kms-2"] if pair else ["kms"]} | ({"q": ["kms-2"]} if two else {})
        providers = [
            {"name": name, "type": "nativeProvider", "servers": [], "default": name == "p"}
            | ({"tpm_required": True} if without_tpm else {})
            if name in native
            else {"name": name, "type": "vCenter", "servers": servers, "default": name == "p"}
            for name, servers in listed.items()
        ]
        left_out: dict[str, Any] = {"without_tpm": list(without_tpm)} if without_tpm else {}
        if trusted:
            self.boots |= {"as": 1, "kps": 1}
            providers = [{"name": "p", "type": "trustAuthority", "servers": [], "default": True}]
            services = {"attestation": ["as"], "keys": ["kps"], "kms": {"p": ["kms"]}}
            left_out["services"] = services
        if apart:
            self.boots["vcenter-b"] = 1
            left_out["leads"] = LEADS
            providers = [one | {"vcenter": name} for name in LEADS.values() for one in providers]
        left_out |= {n: ["esxi-001", "esxi-002"] for n, on in (("ha", ha), ("drs", drs)) if on}
        left_out |= {n: list(of) for n, of in (("vsan", vsan), ("by_kmip", by_kmip)) if of}
        self._state(
            "",
            "staging",
            vcenters=list(LEADS.values()) if apart else ["vcenter"],
            clusters={"esxi-001": "c", "esxi-002": "d" if apart else "c"},
            secure_boot={"esxi-001": True, "esxi-002": True},
            providers=providers,
            knobs=knobs,
            **left_out,
        )
        self._begins(without_tpm)

    def _begins(self, without_tpm: tuple[str, ...]) -> None:
        for node in self.boots:
            self.node(node, "running")
        for host in ("esxi-001", "esxi-002"):
            self.host(host, "prepared" if host in without_tpm else "safe")
        for vm, host in (("vm-01", "esxi-001"), ("vm-02", "esxi-002")):
            self.vm(vm, host, "off" if host in without_tpm else "running")
        self.passes(40)

    def _state(self, node: str, op: str, **data: Any) -> Story:
        self.rows.append((node, "state", op, data))
        return self

    def passes(self, seconds: int) -> Story:
        """Time goes by; every second all hosts are looked at."""
        for _ in range(seconds):
            self._state("", "look", hosts=2)
        return self

    def node(self, name: str, state: str, *, unseen: float = 0.0) -> Story:
        """Its agent sees the node in another state, ``unseen`` seconds after its report before."""
        late = {"unseen": unseen} if unseen else {}
        return self._state(name, "node", state=state, boot=self.boots[name], **late)

    def boot(self, host: str, *, passes: int = 20) -> Story:
        """The host loses its power, and is up again."""
        return self.node(host, "off").boots_after(host, passes=passes)

    def boots_after(self, host: str, *, unseen: float = 0.0, passes: int = 20) -> Story:
        """The host boots; its boot is seen ``unseen`` seconds after the report before."""
        self.boots[host] += 1
        self.node(host, "booting", unseen=unseen).passes(passes)
        return self.node(host, "running")

    def disabled_tpm(self, *, unseen: float, passes: int) -> Story:
        """esxi-001 is off when its TPM is disabled; its boot is seen after so many seconds."""
        self.fault("dark", "host.power_loss", nodes=["esxi-001"]).node("esxi-001", "off")
        self.heal("dark").fault("bios", "host.tpm_disabled", nodes=["esxi-001"]).passes(passes)
        self.boots_after("esxi-001", unseen=unseen).host("esxi-001", "safe")
        return self.vm("vm-01", "esxi-001", "running").passes(60)

    def host(self, name: str, crypto: str, **changes: Any) -> Story:
        """The host says what it is."""
        data = {
            "boot": self.boots[name],
            "crypto": crypto,
            "key": self.host_key,
            "mode": self.mode,
            "persistence": self.persistence,
            "maintenance": False,
        }
        return self._state(name, "host", **(data | changes))

    def silent(self, host: str) -> Story:
        """The host does not answer."""
        return self._state(host, "host", silent=True)

    def vm(
        self, name: str, host: str, seen: str, *, wanted: bool = True, clear: bool = False
    ) -> Story:
        """The host says what the VM is: ``running``, ``off`` or ``locked``."""
        keys = [] if clear else [self.keks[name]]
        return self._state(
            name,
            "vm",
            host=host,
            boot=self.boots[host],
            power="poweredOn" if seen == "running" else "poweredOff",
            crypto=None if clear else "locked" if seen == "locked" else "unlocked",
            wanted="poweredOn" if wanted else "poweredOff",
            keys=keys,
            missing=keys if seen == "locked" else [],  # a running VM says nothing of its keys
        )

    def challenge(self, vm: str, error: str = "", *, host: str = "") -> Story:
        """A guest was asked to prove that it reads its disk; it did, or there was none. ``host``:
        where it was asked for, if that is told."""
        self.op("invoke", vm, "guest.challenge", n=5)
        told = ({"error": f"{vm}: {error}"} if error else {}) | ({"host": host} if host else {})
        return self.op("fail" if error else "ok", vm, "guest.challenge", n=5, **told)

    def marks(self, *vms: str, by: str = "vcenter") -> Story:
        """A vCenter has these VMs as locked."""
        return self._state(by, "marks", locked=list(vms))

    def fault(
        self, id: str, kind: str, *, error: str = "", missed: bool = False, **values: Any
    ) -> Story:
        """A fault begins: it is being made, then it is there, or it was missed."""
        self.coming(id, kind, **values)
        if missed:
            self.rows.append(("", "note", "missed", {"id": id, "fault": kind}))
            return self
        return self.came(id, kind, error=error, **values)

    def coming(self, id: str, kind: str, **values: Any) -> Story:
        """A fault is being made."""
        fault = {"kind": kind, "id": id, **values}
        self.rows.append(("", "note", "inject", {"id": id, "values": fault}))
        return self

    def came(self, id: str, kind: str, *, error: str = "", **values: Any) -> Story:
        """It is there, or could not be made."""
        fault = {"kind": kind, "id": id, **values}
        more = {"error": error} if error else {"nodes": list(values.get("nodes", ()))}
        self.rows.append(("", "fault", kind, {"id": id, "summary": kind, "values": fault, **more}))
        return self

    def cut(self, id: str = "wan", between: tuple[str, str] = ("vcenter", "kms")) -> Story:
        """A link is cut in both directions."""
        a, b = between
        return self.fault(id, "link.cut", a=[a], b=[b], dir="both")

    def heal(self, id: str, *, verified: bool = True, stays: bool = False) -> Story:
        """A fault ends: it is being taken back, then it was seen gone."""
        self.rows.append(("", "note", "ending", {"id": id}))
        data: dict[str, Any] = {"id": id, "verified": verified}
        if stays:
            data["stays"] = True
        self.rows.append(("", "heal", "heal", data))
        return self

    def note(self, op: str) -> Story:
        """Something about the run as a whole."""
        self.rows.append(("", "note", op, {}))
        return self

    def op(self, kind: str, vm: str, op: str = "vm.power_cycle", n: int = 1, **data: Any) -> Story:
        """A record of an operation on a VM."""
        self.rows.append((vm, kind, op, {"n": n, **data}))
        return self


def dark(*, persistence: bool, power: str = "host.power_loss", **lab: Any) -> Story:
    """The key server is cut off, then esxi-001 loses its power and is up again."""
    story = Story(persistence=persistence, **lab).cut().passes(10)
    story.fault("dark", power, nodes=["esxi-001"])
    return story.boot("esxi-001").heal("dark")


def locked(story: Story) -> Story:
    """esxi-001 has lost its key, and its VM is locked."""
    return story.host("esxi-001", "prepared").vm("vm-01", "esxi-001", "locked").passes(40)
