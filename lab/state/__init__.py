"""What keystead keeps on this machine, and how its processes meet there.

- ``state_folder``  the folder of a lab: its record, its lock, its supervisor
- ``scratch``       folders that nobody shall find again, and who removes them after a kill
- ``peer``          whose process is at the other end of a Unix socket
- ``in_thread``     work that may block for ever, and is not waited for longer
- ``checkout``      versions of what is installed here, and code of a checkout that no wheel holds
"""
