"""The background process of ``up``, and how it is started and stopped.

- ``supervisor``    owns brokers, agents and faults of one lab until ``down``
- ``launching``     starts and stops it from outside
- ``api_server``    the process of `keystead serve` of a lab whose file says so
- ``size``          what a Lab file comes to

Leases of faults are the keeper's (``chaos.keeper``), which a simulated lab has too; the supervisor
lets it look after them and saves what it holds.
"""
