"""Features, scores and masks of networks of any size: folders of Parquet shards, read and written in bounded memory."""

from autosparse.shards.layout import Shard, Shards
from autosparse.shards.network import save_features
from autosparse.shards.reader import open_features, read_rows, require_inputs
from autosparse.shards.writer import ShardWriter

__all__ = ["Shard", "ShardWriter", "Shards", "open_features", "read_rows", "require_inputs", "save_features"]
