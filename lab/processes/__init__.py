"""A lab of real processes.

- ``process_lab``      the lab: brokers, agents, signals; implements ``chaos.lab.LabUnderTest``
- ``process_changes``  how a lab of real processes changes
- ``agents``           agents as the lab starts them
- ``notebook``         what the supervisor writes down, also when there is no room for a while
- ``preload``          what that one loads and warms for them
- ``agent``            the main of an agent process
- ``die_with_parent``  ends a program that is no Python when its parent ends
"""
