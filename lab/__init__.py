"""Runs labs: real processes over a broker, or one process in virtual time. Decides nothing.

- ``topology``     the Lab file: nodes, providers, VMs    - ``topologies``  shipped files
- ``core``         what both kinds of lab share         - ``provision``  from empty to ready
- ``processes``    real processes                     - ``simulation`` virtual time, in a worker
- ``verbs``        the commands both serve            - ``client``     ``async with Lab(...)``
- ``supervisor``   the background process of ``up``   - ``launch``     starts and stops it
- ``forkserver``   forks agents; ``preload`` what it imports for them, ``children`` its other
  end, ``process`` an agent's main, ``die_with_parent`` ends what is no Python
- ``broker``, ``identity``, ``control``   nats-server, nkeys, the control plane;
  ``broker_config``, ``nats_server`` the brokers' text and program
- ``state``        folders of labs                    - ``recordlog``, ``nodelogs``  logs
- ``errors``       messages for people, with ids      - ``yaml_marks`` lines of a YAML text
- ``runs``         experiments: played, stored, replayed  - ``mutations``  planted bugs
- ``doctor``       probes by doing                    - ``bench``      how fast, how small
- ``cli``          the command line
"""
