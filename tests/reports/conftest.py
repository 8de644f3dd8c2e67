"""Fixtures of the tests of reports; `run_folders` has what they are made of."""

from run_folders import make_recorded, make_run, report

__all__ = ["make_recorded", "make_run", "report"]
