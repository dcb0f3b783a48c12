"""The truth table, played: each cell (block, fault, event) is staged, looked at, and compared.

A *staging* is one fresh lab for one block, one fault and one kind of boot; each of its events has
VMs and hosts of its own. The letter of a cell comes from what a party outside of the services can
check, and is fixed before anything is healed and before the table is read.

- ``terms``     the words of a play      - ``clock``   its times
- ``scene``     a staging under way: who is there, what was written down
- ``book``      the history of a staging, and which of its records are a cell's evidence
- ``heard``     what was said on its data bus
- ``setup``     VMs made, healthy, the host without the key
- ``canaries``  who can be reached
- ``dumps``     encrypted dumps of hosts
- ``faults``    one file per fault: how it is made, seen, ended
- ``events``    one file per event: what is asked, and what is looked at
- ``looks``     what is seen of VMs, hosts, events      - ``evidence``  its shapes
- ``letters``   from evidence to a letter. Pure
- ``moving``    a VM that runs is moved to another host
- ``trust``     steps of an administrator at a Trust Authority
- ``account``   what a witness is read from
- ``witness``   whether a letter came from the cause that its reason names
- ``trusted_witness``  the same of what a Trust Authority gives and refuses
- ``strangers`` who is not attested asks a Trust Authority for a key
- ``unwrapped`` what a host and a Trust Authority said to each other. Pure
- ``given``     what key servers were asked for and gave. Pure
- ``trails``    the same by the key servers' audit trails, where they are asked by KMIP
- ``order``     in which vCenter tells of things. Pure
- ``play``      a staging from its beginning to its end
- ``grid``      which stagings a part of the table takes. Pure
- ``outside``   rows outside of the grid. Pure         - ``twists``  what is different in them
- ``twist``     what every twist is to a play          - ``beside``  a fault of its own
- ``disk_twists``  those of second disks    - ``late_twists``  those of keys that came late
- ``apart_twists``  those of one host apart    - ``clear_twists``  those of VMs without encryption
- ``tpm_twists``  those of a host without the TPM that its provider requires
- ``vsan``      an object on an encrypted vSAN, and what is seen of it      - ``groups``  its letter
- ``native``    what hosts that derive keys have and have not used
- ``scan``      whether something that is encrypted lies in clear
- ``stored``    what must be so of key persistence
- ``control``   what must be so for letters to mean anything
- ``story``     the records of a cell in sentences. Pure
- ``compare``   letters against the table, when they are fixed. Pure
"""
