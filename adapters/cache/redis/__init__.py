"""A cache in Redis, which all processes share and all of them can do without.

cache ─┬─ claims   of all processes one loads a missing key
       ├─ outage   while Redis does not answer it is not asked; it is tried until it does
       └─ missed   what was to change in it meanwhile is forgotten before it is asked again
"""
