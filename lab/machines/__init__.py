"""Other machines of a lab, as the supervisor sees them ([decision 69](docs/decisions)).

- ``trust``      the lab's certificate authority, and the certificate of its TLS proxy
- ``tls_proxy``  the program that takes TLS and hands bytes to a broker
- ``gate``       connections of nodes elsewhere to nodes that stand here; on each machine
- ``listening``  starts it, and keeps where it listens
- ``bundle``     the file that one machine joins with
- ``issuing``    writes it
- ``admission``  what is remembered of bundles: who may join with one
- ``part``       what a machine gets of a host that is added there
- ``access``     the file with which a lab is commanded from elsewhere; ``attached`` keeps it there
- ``checkup``    ``keystead healthcheck``
- ``epoch``      time that goes on through the end of a supervisor
- ``roster``     who has joined: takes agents and refuses them
- ``machine``    one machine as the supervisor sees it: beats, processes, its end
- ``doubts``     why nothing counts of what was measured: a clock, or a machine that was lost
- ``offset``     how far its clock is ahead, of many samples; pure
- ``health``     what a machine says of its health to who is on it
- ``unreached``  why a lab is not reached from elsewhere
"""
