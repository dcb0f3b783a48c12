"""A plan is played on a lab: its entries in time, its measurements, its verdict.

- ``engine``       plays a plan and its actions
- ``requirements`` what the plan asks of the lab, first of all
- ``cues``         when entries begin      - ``intervals``  faults, from begin to heal
- ``forks``        faults that are added to a run of the simulation
- ``coming``       the workload as it comes - ``outcome``    what came of it
- ``measure``      hypotheses, when they are due
- ``watch``        what is looked at all the time
"""
