"""One frozen struct per request, reply and event, tagged by its name; a module per role.

- ``base``     Request, Reply, Event, Sealed, and the registry all others enter
- ``kms``      what a key server serves           - ``host``     what an ESXi host serves
- ``vcenter``  what vCenter serves                - ``agent``    what the lab tells its agents
- ``attestation``  what an Attestation Service serves
- ``keyprovider``  what a Key Provider Service serves
- ``machines`` what a supervisor and the agent of another machine tell each other
- ``fingerprints``  what key servers and hosts tell a checker of their keys
"""
