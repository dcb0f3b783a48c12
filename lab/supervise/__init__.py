"""The background process of ``up``, and how it is started and stopped.

- ``supervisor``  owns brokers, agents, faults and the API server of one lab until ``down``
- ``launching``   starting and stopping a lab's supervisor from outside

Leases of faults are the keeper's (``chaos.keeper``), which a simulated lab has too; the supervisor
lets it look after them and saves what it holds.
"""
