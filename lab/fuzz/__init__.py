"""Campaigns of random schedules in the simulation: play, judge, shrink, keep.

- ``play``  one run from a snapshot
"""
