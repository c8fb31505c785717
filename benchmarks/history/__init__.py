"""What was measured before on this machine: `python -m benchmarks track` adds to it, `python -m benchmarks history`
shows it."""
