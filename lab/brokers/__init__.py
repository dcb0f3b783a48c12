"""The nats-servers of a lab, who may say what on them, and the control plane.

- ``bus_servers``      the data bus of a lab on servers of its own
- ``monitoring``       what servers say
- ``data_bus``         what carries the messages of a lab, whoever runs its servers
- ``foreign_servers``  the data bus of a lab on servers that somebody else runs, in an account of
  its own there
- ``server``           one nats-server process: started, watched, reloaded, stopped
- ``program``          where the nats-server program is, and whether it is new enough
- ``configuration``    configuration of the two brokers, as text
- ``identities``       nkeys of nodes, agents, supervisor and command line; sealing keys
- ``files``            the files of both
- ``control_plane``    requests and events between supervisor, agents and command line
"""
