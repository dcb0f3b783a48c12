"""A lab in virtual time.

- ``sim_lab``   every node in one process, driven by one loop; how a run begins
- ``simulated`` the lab as those see it who give it commands
- ``snapshot``  a lab that is built once, and from which many runs are forked
- ``points``    storage calls by name: recorded, and struck at exactly one of them
- ``strikes``   the crash points of an experiment
- ``scan``      all places of it that are searched for keys
- ``worker``    the process that holds one and answers commands
- ``workers``   where such processes come from
"""
