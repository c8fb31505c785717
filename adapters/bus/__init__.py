"""Buses: native FastStream brokers with our consume loop.

Each bus is a FastStream broker, so `faststream run`, AsyncAPI and FastStream's middlewares work, and implements the
`Bus` port beside it. Every use of `faststream._internal` in the product is below this package, each with a canary in
`tests/adapters/test_faststream_canaries.py`: FastStream is pinned to a minor version, and the canaries say at once
which seam moved when the pin is raised.
"""
