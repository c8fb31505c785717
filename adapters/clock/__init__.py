"""The Clock port: `system` for the process, `manual` for tests and simulation."""
