"""What a lab answers: one frozen struct per kind, the same for every way in.

``kind`` of a document is the name of its struct. A key is written ``provider/id``.

- ``base``         ``Answer``, ``KeyRef``, states of machines
- ``inventory``    what vCenter and hosts hold
- ``keys``         answers about key providers, keys and key servers, and the trust between a
  vCenter and KMIP servers as each of them has it
- ``hosts``        power, esxcli, TPM
- ``lab``          the lab itself
- ``faults``       faults and healing
- ``describe``     descriptions with reasons
- ``experiments``  how commands ended that play many runs
- ``local``        what is answered without asking a lab
- ``matrix``       the truth table, played
- ``vcenters``     answers of vCenters
- ``vsan``         vSAN encryption, its objects and their health
- ``kmip``         what commands about KMIP without a lab are answered with, among them ``kmip
  replay``
- ``load``         figures of a load
- ``messages``     what travels between nodes
"""

# ruff: noqa: F403 - every public name of these is one of this package
from lab.schema.answers.base import *
from lab.schema.answers.describe import *
from lab.schema.answers.faults import *
from lab.schema.answers.hosts import *
from lab.schema.answers.inventory import *
from lab.schema.answers.keys import *
from lab.schema.answers.lab import *
from lab.schema.answers.messages import *
from lab.schema.answers.vcenters import *
from lab.schema.answers.vsan import *
