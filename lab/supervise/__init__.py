"""The background process of ``up``, how it is started and stopped, and the folders of labs.

- ``supervisor``    owns brokers, agents and faults of one lab until ``down``
- ``notebook``      what it writes down, also when there is no room for a while
- ``launching``     starts and stops it from outside
- ``size``          what a Lab file comes to
- ``state_folder``  the folder of a lab: its record, its lock, its supervisor
- ``scratch``       folders that nobody shall find again, and who removes them after a kill
- ``in_thread``     work that may block for ever, and is not waited for longer
- ``peer``          whose process is at the other end of a Unix socket

Leases of faults are the keeper's (``chaos.keeper``), which a simulated lab has too; the supervisor
lets it look after them and saves what it holds.
"""
