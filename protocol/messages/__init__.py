"""One frozen struct per request, reply and event, tagged by its name; a module per role.

- ``base``     Request, Reply, Event, Sealed, and the registry of all messages
- ``kms``      what a key server serves
- ``host``     what an ESXi host serves
- ``vcenter``  what vCenter serves
- ``agent``    what the lab sends to its agents
- ``attestation``  what an Attestation Service serves
- ``keyprovider``  what a Key Provider Service serves
- ``machines`` between a supervisor and the agent of another machine
- ``fingerprints``  what key servers and hosts answer a checker about their keys
"""
