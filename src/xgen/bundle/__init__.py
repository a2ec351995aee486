"""A model on the disk: brought there once (`pull`), then loaded with all that belongs to it (`load`)."""

from xgen.bundle.loading import Bundle, load
from xgen.bundle.pulling import pull

__all__ = ["Bundle", "load", "pull"]
