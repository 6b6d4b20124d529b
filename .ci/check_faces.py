"""Fails unless a folder holds the expected results of `align` on scikit-image's astronaut photo."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

# Positions in the 512 x 512 photo, located by eye. The tolerance is a tenth of the distance of the
# outer eye corners, 65 pixels.
BY_EYE = {
    8: ("chin", 224, 178),
    30: ("tip of the nose", 224, 125),
    36: ("right eye's outer corner", 194, 100),
    45: ("left eye's outer corner", 259, 103),
    48: ("right corner of the mouth", 204, 140),
    54: ("left corner of the mouth", 244, 141),
}
TOLERANCE = 6.5

folder = Path(sys.argv[1])
records = sorted(folder.rglob("*.json"))
if len(records) != 1:
    sys.exit(f"{folder}: {len(records)} records instead of one")
points = json.loads(records[0].read_text())["landmarks"]
if len(points) != 68:
    sys.exit(f"{records[0]}: {len(points)} landmarks instead of 68")
images = [path for path in folder.rglob("*") if path.suffix in (".png", ".jpg")]
if not images:
    sys.exit(f"{folder}: no image with the landmarks drawn")

far_off = []
for index, (name, x, y) in BY_EYE.items():
    distance = math.dist(points[index], (x, y))
    print(f"{name}: {distance:.1f} px from its position by eye")
    if distance > TOLERANCE:
        far_off.append(name)
if far_off:
    sys.exit(f"more than {TOLERANCE} px away: {', '.join(far_off)}")
