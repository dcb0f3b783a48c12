"""Groups of commands, and the commands that have a function of their own: a terminal flow, an
argument that only a terminal has, or no lab. Every other one is derived of its struct
(``derived``).

Functions are named and not imported: a command line imports the module of its own command and no
other's. Only a help that lists commands imports those that it lists.
"""

from __future__ import annotations

from collections.abc import Mapping

GROUPS: Mapping[str, str] = {
    "get": "Show what is there, as table, JSON, YAML or names.",
    "vm": "VM tasks, asked of vCenter or of a host.",
    "vm snapshot": "VMs as they were: their disks and virtual TPMs, kept.",
    "host": "Hosts (and vcenter, kms): power in all its ways, and vCenter's tasks on hosts.",
    "host dump": "Core dumps on a host's disk, under its host key.",
    "vcenter": "vCenter as a machine: backups, and a new installation.",
    "cluster": "Clusters: encryption mode and default key provider of all hosts.",
    "key": "Keys that vCenter knows, by id.",
    "alarm": "Alarms of vCenter that a word ends.",
    "tpm": "The TPM under a host, at the lab's side.",
    "kms": "Key servers, as their operator.",
    "kms key": "One key of a key server.",
    "kmip": "KMIP without a lab: a key server, and vCenter's flow against any.",
    "provider": "Key providers of vCenter.",
    "vsan": "Encryption of a cluster's vSAN, its disks, its objects.",
    "trust": "Trust Authority: thirteen steps, one by one or all at once.",
    "role": "Roles of vCenter: which privileges each has.",
    "user": "Users of vCenter, each with a role.",
    "link": "Links between two nodes: cut, delay, loss, duplicates, resets.",
    "describe": "Everything known of one object, and why it is so.",
    "lab": "A lab on several machines or servers: what these have to know.",
    "agent": "The agent of another machine of a lab.",
    "chaos": "Experiments: declared faults, hypotheses, a verdict.",
    "load": "Operations at a rate that no answer changes, and what came of them.",
}
"""Words that commands follow, and what ``--help`` says of them. One stands after its own group."""

COMMANDS: Mapping[str, str] = {
    "get runs": "chaos:runs",
    "host power-on": "hosts:power_on",
    "kmip serve": "kmip:serve",
    "kmip set-root": "kmip:set_root",
    "kmip cut-trail": "kmip:cut_trail",
    "kmip verify-trail": "kmip:verify_trail",
    "kmip cases": "kmip:cases",
    "kmip replay": "kmip_replay:replay",
    "kmip trust-flows": "kmip_replay:trust_flows",
    "load run": "load_run:run",
    "load kmip": "load:kmip",
    "load rate": "load_rate:rate",
    "load compare": "load:compare",
    "provider set": "keys:provider_set",
    "up": "labs:up",
    "down": "labs:down",
    "lab bundle": "machines:bundle",
    "lab access": "machines:access",
    "lab attach": "machines:attach",
    "lab detach": "machines:detach",
    "lab broker-config": "bus:broker_config",
    "agent join": "agents:join",
    "healthcheck": "agents:healthcheck",
    "serve": "vsphere:serve",
    "env": "vsphere:env",
    "exec": "vsphere:execute",
    "status": "labs:status",
    "version": "labs:version",
    "list": "labs:list_labs",
    "events": "journal:events",
    "logs": "journal:logs",
    "describe run": "describe:describe_run",
    "chaos list": "chaos:list_",
    "chaos lint": "chaos:lint",
    "chaos new": "chaos:new",
    "chaos plan": "chaos:plan",
    "chaos run": "chaos:run",
    "chaos replay": "chaos:replay",
    "chaos tap": "tap:tap",
    "chaos fuzz": "fuzz:fuzz",
    "chaos shrink": "fuzz:shrink",
    "chaos sweep": "sweep:sweep",
    "matrix": "matrix:table",
    "runs": "chaos:runs",
    "check": "checking:check",
    "report": "report:report",
    "conformance": "conformance:play",
    "doctor": "doctor:doctor",
    "bench": "measure:bench",
    "schema": "schema:schema",
    "api": "api:api",
    "wait": "waiting:wait",
    "completion": "waiting:completion",
    "explain": "explain:explaining",
}
"""Words -> ``module:function`` of ``lab.cli``; ``explain``, ``matrix`` have commands below them."""
