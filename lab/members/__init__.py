"""A machine that is part of a lab, and how the supervisor lets it in.

- ``joining``    ``keystead agent join`` from its file to its end
- ``joined``     what the machine's folder keeps: identities of its own nodes, who it is
- ``holding``    its processes: forked, stopped, ended as the supervisor says; the lease
- ``inviting``   bundles and places for machines that share a folder with the lab
"""
