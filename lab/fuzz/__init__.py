"""Campaigns of random schedules in the simulation: play, judge, shrink, keep.

- ``world``      the lab of a campaign
- ``play``       one run of a plan from a snapshot of its lab, in a process of its own; what is
  wrong with it, so that another run can be recognized as wrong in the same way; and what a
  campaign has tried and what not
- ``campaign``   many seeds, written down as they end
- ``shrinking``  a failing run made small, on snapshots of its lab, then of smaller labs; findings
  and corpus as experiment files
"""
