"""A lab in virtual time.

- ``sim_lab``   every node in one process, driven by one loop; how a run begins
- ``workers``   where the processes come from in which simulations run, and a simulated lab as its
  clients see it
- ``snapshot``  a lab that is built once, and from which many runs are forked
- ``points``    points
- ``scan``      all places of it that are searched for keys
- ``worker``    the process that holds one and answers commands
"""
