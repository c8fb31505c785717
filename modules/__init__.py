"""What the product does, one package a module: a handler set and its pure logic, strangers to each other.

A module imports `contracts` and nothing else of ours; the runtime finds it by name (its package exports `module`)
and hands it the adapters that its handlers ask for. Modules speak through messages and tables.
"""

from __future__ import annotations
