"""A lab in virtual time.

- ``sim_lab``  every node in one process, driven by one loop
- ``worker``   the process that holds one and answers commands; where such processes come from
"""
