"""Pawl for Python: define jobs, start and watch tasks, write workers. Knows nothing of the control plane's inside."""
