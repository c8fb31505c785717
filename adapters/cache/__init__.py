"""The Cache port: `memory` in this process; Redis is to come."""
