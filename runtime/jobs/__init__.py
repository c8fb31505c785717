"""Jobs: commands are recorded in the ledger, claimed, run under a lease, and settled.

bus ─▶ intake ─▶ ledger ─▶ dispatcher ─▶ pipeline ─▶ settler ─▶ ledger
"""
