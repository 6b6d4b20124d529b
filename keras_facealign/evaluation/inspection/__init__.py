"""Looks at labels of one's own: what is unlike the rest, there twice, or contradicted by a network.

`findings` gathers what the other modules find, and `page` shows it on one HTML page.
"""

from keras_facealign.evaluation.inspection.findings import (
    KINDS,
    Finding,
    Inspection,
    inspect_labels,
)
from keras_facealign.evaluation.inspection.page import make_page

__all__ = ["KINDS", "Finding", "Inspection", "inspect_labels", "make_page"]
