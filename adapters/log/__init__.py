"""The Log port: structured lines as JSON or pretty, with the standard library's records in the same stream."""
