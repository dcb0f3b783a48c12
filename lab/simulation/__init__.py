"""A lab in virtual time: ``sim_lab`` holds it, and serves commands from a worker process."""
