"""Runs labs: real processes over a broker, or one process in virtual time. Decides nothing.

- ``topology``     the Lab file: nodes, providers, VMs    - ``topologies``  shipped files
- ``core``         what both kinds of lab share         - ``provision``  from empty to ready
- ``processes``    real processes                     - ``simulation`` virtual time, in a worker
- ``verbs``        the commands both serve            - ``client``     ``async with Lab(...)``
- ``supervisor``   the background process of ``up``   - ``state``      folders of labs
- ``broker``, ``identity``, ``control``   nats-server, nkeys, the control plane
- ``errors``       messages for people, with ids      - ``cli``        the command line
"""
