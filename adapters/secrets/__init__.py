"""The Secrets port: `env` from the environment, `file` from mounted files or a dotenv file, `vault` from Vault."""
