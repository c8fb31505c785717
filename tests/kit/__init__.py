"""What tests share: real services, waiting on signals, faults."""
