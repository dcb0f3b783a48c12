"""Loads: operations at a rate that no answer changes.

- ``arrivals``   the arrivals of a load
- ``planned``    the load of an experiment's file
- ``histogram``  of latency
"""
