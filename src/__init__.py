"""The kit's library, imported as `src.x` from the scripts; it is not installed."""

__version__ = "0.2.0"
