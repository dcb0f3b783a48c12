"""A plan is played on a lab: its entries in time, its measurements, its verdict.

- ``engine``        plays a plan and its actions
- ``requirements``  what the plan asks of the lab, first of all
- ``schedule``      the schedule of a run as it is played
- ``load``          the load of a run
- ``measure``       what is observed through a run
"""
