"""The one fork server: a small single-threaded process that forks others, from a clean state.

It has loaded what its children need, so a child is there in milliseconds, shares those pages,
and makes connections, threads and open files of its own after the fork. The process that wants
children (it has threads and open files that a fork would tear) asks over a socket and hears of
their ends. When it is gone the server leaves, and the kernel kills the children with it, stopped
ones too: no orphan survives.

A process that has a single thread needs no server: it forks itself (``alone``).

- ``packets``     what the two say to each other
- ``server``      the process that forks
- ``child``       what a child does, whoever forked it
- ``alone``       an owner with one thread, without a server
- ``copied``      a server that is a copy of its owner, and needs no second Python
- ``connection``  the owner's end: start the process, send, hear
- ``withheld``    the memory of a process that holds keys, kept from others
- ``torn``        what must not be open when a process forks
- ``blocking``    an owner with threads: the simulation's workers; a server that is a child of one
- ``children``    an owner with an event loop: the agents of a lab
"""
