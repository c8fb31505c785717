"""What two parts must agree on: messages, ports, the module declaration and errors.

Nothing here does work, and nothing here imports beyond the standard library and msgspec.
"""
