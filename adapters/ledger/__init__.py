"""Implementations of the ledger: what they share is pure (`rank`, `ending`, `storable`), the rest is one place each."""
