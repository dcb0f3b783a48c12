"""Datastores in a folder that machines share ([decision 74](docs/decisions)).

- ``shared_datastore``  a shared datastore as one machine sees it, below the folder that is mounted
  there, and what it needs of that folder, tried by doing it there
- ``second_process``    the program that tries a lock which its starter holds
- ``machines``          the shared datastores of machines, here or over the control plane, and
  whether the folders that machines have for one datastore are one folder with working locks
"""
