"""What a lab consists of.

- ``lab_file``   the Lab file that people write: reading it, and changes to it from options
- ``model``      the schema of its sections · ``references`` what in it does not fit together
- ``trust_references``, ``trust_nodes``  the section trust_authority, and its nodes
- ``machine_references``  what stands on which machine, and does not fit
- ``machine_plan``  the machines of the plan, and datastores that they share
- ``bus_references``  what does not fit of the bus
- ``version_references``  versions of hosts and vCenters that do not fit
- ``service_times``  how long nodes work on what, and profiles (``profiles``) of that
- ``tpms``       which nodes have a TPM, and what plays it
- ``plan``       the plan of nodes, providers and VMs that is made from it
- ``places``     hosts that come with machines which ask for a place
- ``directory``  who is there, for plans and selectors
- ``secret_files``  secrets that people keep in a file of their own and name
- ``wrong_fields``  all that is wrong with a file · ``written``  one as text with comments
- ``demand``     what a lab of a size asks of the machine
- ``shipped``    the Lab files that come with keystead
"""
