"""From the evidence of a cell to its letter, and whether the cause is the one named. Pure.

Map:

- ``account``  what a witness is read from
- ``given``    what key servers were asked for and gave, and when a host mounted its disk groups
- ``groups``   from evidence to the letter of E12
- ``letters``  from evidence to a letter
- ``order``    what vCenter tells of a cell, and in which order, where the table's page fixes it
- ``witness``  whether a letter came from the cause that its reason names
"""
