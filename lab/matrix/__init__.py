"""The matrix on labs: what ``chaos.matrix`` plays.

- ``topologies``  the lab of a staging
- ``bench``       what a staging needs of a lab besides commands
- ``archives``    a host's configuration archive, opened from outside
- ``sim``         stagings in virtual time, forked from a lab that is staged once
- ``real``        stagings on real processes, each in a lab of its own
- ``outcome``     what came of a staging
- ``run``         all stagings of a run, and its folder
"""
