"""What do run folders say, put together for a reader? Networks, seeds, ranks, flags, probes."""
