"""The smaller network that computes what a masked one does, from any masks."""

from autosparse.compaction.hooks import hook_on
from autosparse.compaction.network import Compact, compact, put

__all__ = ["Compact", "compact", "hook_on", "put"]
