"""Pure decisions: no I/O, no clock, no tasks. Each is a property test's subject."""
