"""Measurements: `task bench`. Each names its baseline, and both run in turn in one session."""
