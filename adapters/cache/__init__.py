"""The Cache port: `memory` in this process, `redis` for all of them."""
