"""Use cases: load, decide (domain), save, in one transaction."""
