"""The package's version, from its installed metadata."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("autosparse")
except PackageNotFoundError:  # the bare source tree, e.g. on a machine where only PyTorch is installed
    __version__ = "0+source"
