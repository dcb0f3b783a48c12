"""What a lab needs, tried on this machine; one line and one fix for each thing.

- ``probes``  probes that do what a lab does, each with one line and one fix, among them whether
  this machine has room for a lab of a size (``lab.topology.demand``)
"""
