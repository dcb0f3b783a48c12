"""Hypotheses: what must hold before, during and after the faults, as an experiment says it.

- ``probes``     what can be measured, each by observation only
- ``tolerance``  what a measurement is held against: ``">= 1"``, ``"< 250ms"``
"""
