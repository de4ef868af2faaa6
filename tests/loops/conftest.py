"""Loops are tested over the same engine as the use cases."""

from tests.engine.conftest import engine, jobs, stopped, tasks

__all__ = ["engine", "jobs", "stopped", "tasks"]
