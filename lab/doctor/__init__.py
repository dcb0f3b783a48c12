"""What a lab needs, tried on this machine; one line and one fix for each thing.

- ``findings``  what a probe says
- ``probes``    programs, ports, TPM, folders, processes left behind; and all probes in order
- ``size``      room for a lab of a size: files, tasks, memory, processors
"""
