"""What a lab consists of.

- ``lab_file``   the Lab file that people write, and the plan of nodes, providers and VMs
- ``provision``  from an empty lab to a ready one, in an administrator's order
- ``shipped``    the Lab files that come with keystead
"""
