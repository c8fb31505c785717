"""The process: settings, wiring, pipeline, lanes, jobs, supervisor, health and the command line.

It sees ports only; `runtime/wiring/` alone chooses their implementations, and modules are found by name.
"""
