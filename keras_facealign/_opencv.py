"""OpenCV's module `cv2`, which four packages on PyPI install into the same folder.

The package requires none of them but by its extras, so that it never replaces the one a user has.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from keras_facealign.errors import FaceAlignError

try:
    import cv2
except ModuleNotFoundError as error:
    if error.name != "cv2":
        raise
    raise ModuleNotFoundError(
        'keras_facealign needs OpenCV; run: pip install "keras_facealign[opencv]", or install '
        "opencv-python or opencv-contrib-python",
        name="cv2",
    ) from None


def check_opencv(module: Any) -> None:
    """Looks for more than one package of OpenCV, or for what is left after removing one of them.

    Args:
        module: The module `cv2`.

    Raises:
        FaceAlignError: If the module is empty.
    """
    folder = next(iter(getattr(module, "__path__", ())), None)
    if folder is None:  # a single file, which none of these packages installs
        return
    found = Path(folder).parent.glob("opencv_*python*.dist-info")
    names = sorted({path.name.partition("-")[0].replace("_", "-") for path in found})
    if not hasattr(module, "imread"):
        keep = names[0] if names else "opencv-python-headless"
        raise FaceAlignError(
            f"{folder} is what a removed package of OpenCV left behind, without a program; run: "
            f"pip install --force-reinstall --no-deps {keep}"
        )
    if len(names) > 1:
        warnings.warn(
            f"{' and '.join(names)} are installed together: they overwrite each other's module "
            "cv2, and removing either breaks it. Keep one: pip uninstall "
            f"{' '.join(names)}, then pip install the one you want.",
            stacklevel=3,
        )


check_opencv(cv2)
