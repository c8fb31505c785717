"""The Metrics port: `prometheus` to be scraped, `memory` to be read in tests, `noop` to keep nothing."""
