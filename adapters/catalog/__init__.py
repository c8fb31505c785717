"""The Catalog port: what users declared, read from YAML files."""
