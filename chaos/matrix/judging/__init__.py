"""From the evidence of a cell to its letter, and whether the cause is the one named. Pure.

Map:

- ``account``      what a witness is read from
- ``letters``      from evidence to a letter
- ``event_order``  what vCenter tells of a cell, and in which order, where the table's page fixes
  it
- ``witness``      whether a letter came from the cause that its reason names
"""
