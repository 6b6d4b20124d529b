"""The one exception that the library raises for input it cannot use."""


class FaceAlignError(ValueError):
    """Raised for unusable input; the message names it, the value, and how to fix it."""
