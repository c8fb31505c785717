"""API keys, kept beside the ledger."""
