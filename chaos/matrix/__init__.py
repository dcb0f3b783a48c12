"""The truth table, played: each cell (block, fault, event) is staged, looked at, and compared.

A *staging* is one fresh lab for one block, one fault and one kind of boot; each of its events has
VMs and hosts of its own. The letter of a cell comes from what a party outside of the services can
check, and is fixed before anything is healed and before the table is read.

- ``terms``           the words of a play
- ``clock``           its times
- ``scene``           a staging under way
- ``setup``           VMs made, everything healthy, one host without the key
- ``faults``          one file per fault: how it is made, seen and ended
- ``events``          one file per event: what is asked, and what is looked at
- ``looks``           what is seen of VMs, hosts and events, moves of running VMs among them
- ``evidence``        its shapes
- ``provider_setup``  native and trusted providers of a staging
- ``vsan``            an object on an encrypted vSAN, and what is seen of it
- ``stored``          controls of key persistence
- ``control``         what must be so for letters to mean anything
- ``judging``         from evidence to a letter, and to the witness of its reason. Pure
- ``compare``         letters against the table, when they are fixed. Pure
- ``play``            a staging from its beginning to its end
- ``grid``            which stagings a part of the table takes. Pure
- ``outside``         rows outside of the grid. Pure
- ``twist``           what every twist of such a row is to a play
- ``twists``          what is different in their labs
- ``story``           the records of a cell in sentences. Pure
"""
