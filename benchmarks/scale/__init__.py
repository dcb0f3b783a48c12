"""``keystead bench scale``: what a lab costs as it grows, in CPU time.

A cost that is asked for on another machine says little, so most rows are ratios of two costs that
are taken in one run. CPU time and not the clock on the wall: what else the machine does is not
in it.

- ``rows``        all of them, in the order in which they run
- ``shapes``      labs of a given size
- ``within``      what a worker does and measures inside of the simulation
- ``workers``     calls it in a worker of its own
- ``building``    building a lab, and one that idles, as hosts are added
- ``capacity``    what a host and a VM add, and what that foretells of a large lab
- ``beginnings``  runs that are built, and runs that are forked from a build
- ``schedules``   random schedules of faults, judged, as a fuzzer plays them
- ``pushes``      ``AddKeys`` messages for many encryptions
- ``looking``     what looks cost: a list of hosts, the observer of an experiment
- ``command``     a whole command line, with every process that it starts
- ``serving``     one request: of a key server, of the bus port
- ``living``      labs of real processes: coming up, idling, coming back
- ``spent``       CPU time and memory of other processes
- ``plot``        growth as a picture (SVG)

Add a row: one class in the file of its subject, and its line in ``rows``.
"""
