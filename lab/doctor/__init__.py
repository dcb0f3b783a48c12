"""``keystead doctor``: ``probes`` tries what a lab needs and names one fix per finding."""
