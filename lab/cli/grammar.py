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
    "lab": "Files that describe a lab; what other machines have to know of one.",
    "agent": "The agent of another machine of a lab.",
    "chaos": "Experiments: declared faults, hypotheses, a verdict.",
    "load": "Operations at a rate that no answer changes, and what came of them.",
}
"""Words that commands follow, and what ``--help`` says of them. One stands after its own group."""

COMMANDS: Mapping[str, str] = {
    "get runs": "experiments.chaos:runs",
    "host power-on": "running.hosts:power_on",
    "kmip serve": "keyservers.kmip:serve",
    "kmip set-root": "keyservers.kmip:set_root",
    "kmip cut-trail": "keyservers.kmip:cut_trail",
    "kmip verify-trail": "keyservers.kmip:verify_trail",
    "kmip cases": "keyservers.kmip:cases",
    "kmip replay": "keyservers.replay:replay",
    "kmip trust-flows": "keyservers.replay:trust_flows",
    "load run": "loads.run:run",
    "load kmip": "loads.load:kmip",
    "load rate": "loads.rate:rate",
    "load compare": "loads.load:compare",
    "provider set": "running.keys:provider_set",
    "up": "running.labs:up",
    "down": "running.labs:down",
    "lab new": "running.lab_files:new",
    "lab lint": "running.lab_files:lint",
    "lab bundle": "running.machines:bundle",
    "lab access": "running.machines:access",
    "lab attach": "running.machines:attach",
    "lab detach": "running.machines:detach",
    "lab broker-config": "running.bus:broker_config",
    "agent join": "running.agents:join",
    "healthcheck": "running.agents:healthcheck",
    "serve": "running.vsphere:serve",
    "env": "running.vsphere:env",
    "exec": "running.vsphere:execute",
    "status": "running.labs:status",
    "version": "running.labs:version",
    "list": "running.labs:list_labs",
    "events": "running.journal:events",
    "logs": "running.journal:logs",
    "describe run": "experiments.describe:describe_run",
    "chaos list": "experiments.chaos:list_",
    "chaos lint": "experiments.chaos:lint",
    "chaos new": "experiments.chaos:new",
    "chaos plan": "experiments.chaos:plan",
    "chaos run": "experiments.chaos:run",
    "chaos replay": "experiments.chaos:replay",
    "chaos tap": "experiments.tap:tap",
    "chaos fuzz": "experiments.fuzz:fuzz",
    "chaos shrink": "experiments.fuzz:shrink",
    "chaos sweep": "experiments.sweep:sweep",
    "matrix": "experiments.matrix:table",
    "runs": "experiments.chaos:runs",
    "check": "experiments.checking:check",
    "report": "experiments.report:report",
    "conformance": "experiments.conformance:play",
    "doctor": "running.doctor:doctor",
    "bench": "running.measure:bench",
    "schema": "lookup.schema:schema",
    "api": "running.api:api",
    "wait": "running.waiting:wait",
    "completion": "running.waiting:completion",
    "explain": "lookup.explain:explaining",
}
"""Words -> ``module:function`` of ``lab.cli``; ``explain``, ``matrix`` have commands below them."""
