"""What a lab answers: one frozen struct per kind, the same for every way in.

``kind`` of a document is the name of its struct. A key is written ``provider/id``.

- ``base``       ``Answer``, ``KeyRef``, states of machines
- ``inventory``  hosts, VMs
- ``keys``       key providers, keys, key servers
- ``disks``      disks of VMs
- ``hosts``      power, esxcli, TPM
- ``lab``        nodes, links, events, status
- ``faults``     faults and healing
- ``describe``   descriptions with reasons
- ``experiments``  several experiments, played by one command
- ``fuzz``       campaigns and what they found
- ``machines``   machines that a lab stands on
- ``local``      what is answered without asking a lab
- ``matrix``     the truth table, played
- ``mobility``   what a VM's move came to
- ``roles``      roles, and users who have them
- ``vsan``       vSAN encryption, its objects and their health
- ``vcenters``   backups of vCenters
- ``trust``      Trust Authority, as both vCenters tell of it
- ``conformance``  assertions, played
- ``kmip``       conversations of KMIP, played    - ``kmip_trust``  trust of KMIP servers
- ``replay``     a verdict on a key server of anybody's
- ``load``       figures of a load
- ``sweep``      stores, struck at their storage calls
"""

# ruff: noqa: F403 - every public name of these is one of this package
from lab.schema.answers.base import *
from lab.schema.answers.describe import *
from lab.schema.answers.disks import *
from lab.schema.answers.faults import *
from lab.schema.answers.hosts import *
from lab.schema.answers.inventory import *
from lab.schema.answers.keys import *
from lab.schema.answers.kmip_trust import *
from lab.schema.answers.lab import *
from lab.schema.answers.machines import *
from lab.schema.answers.mobility import *
from lab.schema.answers.roles import *
from lab.schema.answers.trust import *
from lab.schema.answers.vcenters import *
from lab.schema.answers.vsan import *
