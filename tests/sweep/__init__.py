"""The crash sweep: every storage call of a store, struck in every way that can happen there.

- ``story``      what is played: steps, what each makes of a store, how a store is looked at
- ``keystore``, ``vcenter``, ``native``, ``kms``, ``custody``  the stories of the stores
- ``first_boot``  what each of them makes when its machine is new
- ``forensics``  keys that lie on a host's disk, whatever its service says
- ``scene``      the lab as stories use it
- ``play``       one story with one blow: recover, judge, go on
- ``forks``      many blows out of one play: a child is forked within the step that is struck
- ``run``        a whole sweep: points enumerated, blows shared out
- ``command``    ``keystead chaos sweep``: a sweep played, shown and kept as a run
"""
