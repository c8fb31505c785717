"""A server that speaks as much of Vault's HTTP API as the adapter and its tests use."""
