"""The modules' tables in Cassandra: what it can keep of the Database port, on its own driver.

A statement goes `$1` ─▶ `?` (parameters) ─▶ prepared once (prepared) ─▶ asked of the driver (link), page by page; what
comes back is plain Python (values), and what goes wrong is an error of the port (translation).
"""
