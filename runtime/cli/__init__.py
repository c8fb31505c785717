"""The command line: `millrace`. Each command is a function with its options as parameters; `main` puts them together."""
