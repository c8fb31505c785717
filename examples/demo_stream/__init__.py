"""Live windows in the terminal: a worker, rides that are made up, and what becomes of each of them.

rides      what is sent: most in time, some late, too late, wrong or twice
worker     the product as anybody starts it, in a process of its own
watching   what its database and its metrics say
screen     the same, for a terminal
account    the sums that must hold at the end
"""
