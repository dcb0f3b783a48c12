"""A lab of real processes.

- ``process_lab``      the lab: brokers, agents, signals; implements ``chaos.lab.LabUnderTest``
- ``strikes``          what faults do to its processes and its data broker
- ``agents``           starts agent processes, forked from one that has everything loaded
- ``growth``             identities and processes for nodes that come later
- ``revival``          starts again brokers and the fork server that ended by themselves
- ``notebook``         what the supervisor writes down, also when there is no room for a while
- ``preload``          what that one loads and warms for them
- ``agent``            the main of an agent process
- ``die_with_parent``  ends a program that is no Python when its parent ends
"""
