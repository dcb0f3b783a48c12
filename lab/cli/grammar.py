"""Groups of commands, and commands with a function of their own.

A command has a function if it has a terminal dialog, takes an argument that only a terminal has, or
uses no lab. All other commands are derived from their structs (``derived``).

Functions are given by name, so that a command line imports the module of its own command only. A
help that lists commands imports the modules of these commands.
"""

from __future__ import annotations

from collections.abc import Mapping

GROUPS: Mapping[str, str] = {
    "get": "List objects as table, JSON, YAML or names.",
    "vm": "VM tasks, by vCenter or on a host.",
    "vm snapshot": "Snapshots of VMs: take, revert, remove.",
    "host": "Hosts and other nodes: power, upgrade, inventory, encryption mode.",
    "host dump": "Core dumps of a host.",
    "vcenter": "vCenter appliance: backup, restore, reinstallation.",
    "cluster": "Clusters: encryption mode, default key provider, HA, DRS.",
    "key": "Keys that vCenter knows: list, generate, add, remove.",
    "alarm": "Acknowledge alarms of vCenter.",
    "tpm": "TPMs of hosts: inspect, clear, replace.",
    "kms": "Key servers, for their operator: keys, backups, clients, audit trail.",
    "kms key": "Keys of a key server: create, activate, revoke, destroy, grant.",
    "kmip": "KMIP without a lab: run a key server, or test any key server.",
    "provider": "Key providers of vCenter: add, change, trust, export, delete.",
    "vsan": "vSAN of a cluster: encryption, health, disks, objects.",
    "trust": "vSphere Trust Authority: configuration steps, one by one or all at once.",
    "role": "Roles of vCenter and their privileges.",
    "user": "Users of vCenter and their roles.",
    "link": "Links between two nodes: cut, delay, loss, duplicates, resets.",
    "describe": "Describe one object: its state and the reasons for it.",
    "lab": "Write Lab files; connect a lab with other machines or servers.",
    "agent": "Run the part of a lab that belongs to this machine.",
    "chaos": "Experiments: faults on a schedule, hypotheses, a verdict.",
    "load": "Load tests: operations at a fixed rate, with latencies and thresholds.",
}
"""Groups of commands and their help; a group stands after the group that it belongs to."""

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
    "load calibrate": "loads.calibrate:calibrate",
    "load validate": "loads.validate:validate",
    "provider set": "running.keys:provider_set",
    "up": "running.labs:up",
    "try": "running.trying:try_",
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
    "watch": "watch.command:watch",
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
