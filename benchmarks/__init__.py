"""How fast cartag is: `throughput`, `scale`, `startup`; each a command, `python -m benchmarks.NAME --help`."""
