"""Nodes of a lab on other machines ([decision 69](docs/decisions)).

Where the supervisor runs:

- ``trust``      the lab's certificate authority, and the certificate of its door
- ``door``       the program that takes TLS and hands bytes to a broker
- ``gate``       connections of nodes elsewhere to nodes that stand here; on each machine
- ``listening``  starts it, and keeps where it listens
- ``bundle``     the file that one machine joins with
- ``issuing``    writes it
- ``admission``  what is remembered of bundles: who may join with one
- ``part``       what a machine gets of a host that is added there
- ``inviting``   bundles and places for machines that share a folder with the lab
- ``access``     the file with which a lab is commanded from elsewhere; ``attached`` keeps it there
- ``checkup``    ``keystead healthcheck``
- ``epoch``      time that goes on through the end of a supervisor
- ``roster``     who has joined: takes agents and refuses them
- ``machine``    one machine as the supervisor sees it: beats, processes, its end
- ``doubts``     why nothing counts of what was measured: a clock, or a machine that was lost
- ``offset``     how far its clock is ahead, of many samples; pure

On the other machine:

- ``joined``     what its folder keeps: identities of its own nodes, who it is
- ``holding``    its processes: forked, stopped, ended as the supervisor says; the lease
- ``health``     what a machine says of its health to who is on it
- ``joining``    ``keystead agent join`` from its file to its end

Of both:

- ``explanations``  errors for people
- ``unreached``     why a lab is not reached from elsewhere
"""
