"""Fails unless a folder holds what `align` must have written for scikit-image's astronaut photo."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

# Where the points are in the 512 x 512 photo, read off it by eye; her outer eye corners are 65
# pixels apart, so that the tolerance is a tenth of that.
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
    sys.exit(f"{folder}: one face is in the photo, {len(records)} records are here")
points = json.loads(records[0].read_text())["landmarks"]
if len(points) != 68:
    sys.exit(f"{records[0]}: {len(points)} landmarks instead of 68")
pictures = [path for path in folder.rglob("*") if path.suffix in (".png", ".jpg")]
if not pictures:
    sys.exit(f"{folder}: no picture with the landmarks drawn")

far_off = []
for index, (name, x, y) in BY_EYE.items():
    distance = math.dist(points[index], (x, y))
    print(f"{name}: {distance:.1f} px from where the eye puts it")
    if distance > TOLERANCE:
        far_off.append(name)
if far_off:
    sys.exit(f"more than {TOLERANCE} px away: {', '.join(far_off)}")
