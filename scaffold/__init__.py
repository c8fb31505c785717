"""Makes a new module with everything that belongs to it: `./task new:module NAME`."""
