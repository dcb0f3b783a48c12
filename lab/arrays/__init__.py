"""Datastores in a folder that machines share ([decision 74](docs/decisions)).

- ``trial``           what a datastore needs of a folder, tried by doing
- ``second_process``  the program that tries a lock which its starter holds
- ``place``           one such folder as a machine sees it: whose it is, the machine's sign in it
- ``guest``           a machine's places, as the supervisor asks for them
- ``meeting``         the supervisor's part: whether the folders of all machines are one
"""
