"""The matrix on labs: what ``chaos.matrix`` plays.

- ``bench``  what a staging needs of a lab besides the commands on it
  (``chaos.matrix.scene.Bench``)
- ``sim``    stagings in virtual time, forked from a lab that is staged once
- ``real``   stagings on real processes
- ``run``    a run of the matrix
"""
