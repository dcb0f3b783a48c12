"""Other machines of a lab, as the supervisor sees them ([decision 69](docs/decisions)).

- ``listening``  the TLS proxy as a part of a lab
- ``tls_proxy``  the program that takes TLS and hands bytes to a broker
- ``gate``       connections of nodes elsewhere to nodes that stand here; on each machine
- ``bundle``     the file that one machine joins a lab with
- ``issuing``    writing the bundle of a machine, and what a lab remembers of bundles
- ``attached``   labs elsewhere that are commanded from here, as the state folder has them
- ``access``     commanding a lab from a machine where nothing of it is
- ``checkup``    ``keystead healthcheck``
- ``machine``    one other machine as the supervisor sees it
- ``roster``     who has joined: takes agents and refuses them
- ``health``     what a machine says of its health to who is on it
"""
