"""The Flags port: from the environment, and from a file that may change while the process runs."""
