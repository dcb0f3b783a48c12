"""A lab of real processes.

- ``process_lab``      the lab: brokers, agents, signals; implements ``chaos.lab.Lab``
- ``children``         the supervisor's side of the fork server
- ``forkserver``       forks agents      - ``preload``  what it imports and warms for them
- ``agent``            the main of an agent process
- ``die_with_parent``  ends a program that is no Python when its parent ends
"""
