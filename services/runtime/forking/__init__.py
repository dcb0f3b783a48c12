"""The fork server: a small single-threaded process that forks others from a clean state.

It has loaded what its children need: a child starts in milliseconds, shares those pages, and opens
connections, threads and files of its own after the fork. The owner has threads and open files that
a fork would tear, so it sends orders over a socket, and receives the ends of children. When the
owner ends, the server ends, and the kernel kills the children with it, even stopped ones: no orphan
survives.

A process with a single thread needs no server: it forks itself (``own_forks``).

- ``packets``     the protocol between owner and server
- ``server``      the process that forks
- ``child``       a forked child, from its fork to its end
- ``own_forks``   forks without a fork server that was started for it
- ``connection``  the owner's end: start the process, send orders, receive answers
- ``blocking``    an owner with threads: the simulation's workers; servers that are children of one
- ``children``    an owner with an event loop: the agents of a lab
"""
