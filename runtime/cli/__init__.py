"""The command line: `millrace`. Each command is a function its options are parameters; `main` puts them together."""
