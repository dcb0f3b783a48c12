"""``./keystead test --kills N``: N rounds of kill -9 on real processes, and everything read back.

A round kills one part of a real lab while requests are under way, has it again, and reads back
what was acknowledged before. Several labs play side by side, each in a process of its own.

- ``__main__``   hands out rounds, shows progress, and tells what was lost
- ``player``     the process of one lab: a line for each round that it is given
- ``labs``       which labs there are, and their parts
- ``lab_rounds``  rounds of a lab that the player holds    - ``acknowledged``  what was, read back
- ``supervisor_rounds``  rounds of a lab that ``keystead up`` holds
"""
