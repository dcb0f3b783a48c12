"""The matrix on labs: what ``chaos.matrix`` plays.

- ``topologies``  the lab of a staging
- ``bench``       what a staging needs of a lab besides commands
- ``spoil``       damage to files of VMs, for the negative controls
- ``sim``         stagings in virtual time, forked from a lab that is staged once
- ``real``        stagings on real processes, each in a lab of its own
- ``sequence``    the order in which these are begun
- ``pool``        several stagings at a time      - ``turns``  labs are built a few at a time
- ``outcome``     what came of a staging
- ``run``         all stagings of a run, and its folder
- ``moved``       what a knob that is not at its default changes
- ``outside``     the same of rows outside of the grid
"""
