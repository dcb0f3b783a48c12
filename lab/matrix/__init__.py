"""The matrix on labs: what ``chaos.matrix`` plays.

- ``bench``    what a staging needs of a lab besides the commands on it
  (``chaos.matrix.scene.StagingBench``)
- ``players``  players of stagings
- ``run``      a run of the matrix
"""
