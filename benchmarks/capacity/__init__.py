"""What a worker and the servers behind it take for each event and each job: `python -m benchmarks capacity`."""
