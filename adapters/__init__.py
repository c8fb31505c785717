"""Implementations of the ports: a folder per port, a file per implementation.

They know the contracts and nothing else of ours; `runtime/wiring/` chooses among them.
"""
