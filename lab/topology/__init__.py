"""What a lab consists of.

- ``lab_file``       the Lab file (``kind
- ``model``          the schema of a Lab file
- ``references``     what in a Lab file does not fit together
- ``machine_plan``   the machines of the plan, and datastores that they share
- ``service_times``  how long nodes work on what, and profiles (``profiles``) of that
- ``plan``           nodes, providers and VMs by name, made from a Lab file; ``Topology`` is what a
  lab is made of, and its directory is made from it
- ``secret_files``   secrets that people keep in a file of their own and name
- ``demand``         what a lab of a size asks of the machine
- ``shipped``        the Lab files that come with keystead
"""
