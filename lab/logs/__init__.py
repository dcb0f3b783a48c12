"""Records of nodes as JSON lines (``records``): written, read, merged and filtered."""
