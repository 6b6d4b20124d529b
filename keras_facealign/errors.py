"""The one exception that the library raises for input it cannot use."""

__all__ = ["FaceAlignError"]


class FaceAlignError(ValueError):
    """Input that cannot be used; the message names it, the offending value and the mend."""
