"""The nats-servers of a lab, who may say what on them, and the control plane.

- ``bus_servers``    the data broker: one server, or a cluster   - ``looks``  what servers say
- ``bus``            which of two it is: ``bus_servers``, or ``foreign_servers`` of somebody else
- ``data_bus``       what a lab asks of either
- ``probing``        whether those will do, tried by doing   - ``administrator``  the file for them
- ``absent``         nodes that servers of somebody else do not let in any more
- ``floods``         who sends more than a node may, as a pure decision
- ``server``         one nats-server process: started, watched, reloaded, stopped
- ``program``        where the nats-server program is, and whether it is new enough
- ``configuration``  the text of a broker's configuration: users and their permissions
- ``agent_config``   what an agent process is told when it starts
- ``identities``     nkeys of nodes, agents, supervisor and command line; sealing keys
- ``kept``           the files of both: ports and seeds
- ``control_plane``  requests and events between supervisor, agents and command line
- ``tap``            the ear of a recorder on the data broker
"""
