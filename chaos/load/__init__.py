"""Loads: operations at a rate that no answer changes.

- ``profile``    rates over time    - ``arrivals``   drawn from a seed before the first is due
- ``threshold``  what must hold     - ``histogram``  of latency
- ``planned``    the load of an experiment's file: its mix, its arrivals
"""
