"""Networks that do not fit into memory, scored and pruned shard by shard with Ray Data."""
