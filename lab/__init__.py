"""Runs labs: real processes over a broker, or one process in virtual time. Decides nothing.

- ``client``      ``async with Lab(...)``, the door for Python
- ``cli``         the door for people at a terminal
- ``api``         the commands that every door serves
- ``core``        what both kinds of lab share
- ``consoles``    the local consoles of many nodes, asked at once
- ``topology``    the Lab file, the plan of nodes made from it, from empty to ready
- ``processes``   a lab of real processes: fork server, agents
- ``machines``    nodes on other machines: agents that join, leases, their clocks
- ``arrays``      datastores in a folder that machines share
- ``brokers``     nats-server, identities, the control plane
- ``supervise``   the background process of ``up`` and the folders of labs
- ``simulation``  a lab in virtual time, in a worker
- ``runs``        experiments: played, stored, replayed
- ``fuzz``        random runs from snapshots
- ``scan``        a search for every key in all that a run has left
- ``matrix``      the truth table: stagings played, runs of them kept
- ``conformance`` assertions, each held by really doing it
- ``kmip``        a key server without a lab
- ``sweep``       the crash sweep: stories of stores, struck at each storage call
- ``load``        operations at a rate that no answer changes
- ``logs``        records of nodes, written and read
- ``doctor``      probes that try what a lab needs
- ``bench``       how fast, how small
- ``errors``      messages for people, with ids
"""
