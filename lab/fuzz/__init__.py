"""Campaigns of random schedules in the simulation: play, judge, shrink, keep.

- ``world``      the lab of a campaign, and what its faults are drawn from
- ``labs``       the labs that it draws, one for each seed
- ``play``       one run from a snapshot
- ``finding``    in which way a run failed
- ``coverage``   what was tried, and what was not
- ``campaign``   many seeds, written down as they end
- ``shrinking``  a failing run made small
- ``files``      findings as experiment files, and the corpus
"""
