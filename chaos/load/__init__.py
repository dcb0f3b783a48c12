"""Loads: operations at a rate that no answer changes.

- ``profile``    rates over time    - ``arrivals``   drawn from a seed before the first is due
- ``threshold``  what must hold     - ``histogram``  of latency
- ``planned``    the load of an experiment's file: its mix, its arrivals
- ``coming``     arrivals of a run as they come, and its rate changed
- ``outcome``    what came of it, from a run's history
"""
