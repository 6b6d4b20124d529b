"""Makes `keras_facealign/landmarks/mean_face68.json`, the mean face behind head poses.

    python benchmarks/derive_mean_face.py ICT-FaceKit/FaceXModel

takes the folder of that name from a copy of https://github.com/ICT-VGL/ICT-FaceKit (MIT license),
or a NumPy `.npz` file with the arrays `neutral` (V, 3) and `idx_to_landmark_verts` (68,). The 68
landmark vertices of its neutral head are turned into the axes of a camera, made exactly symmetric,
and centerd.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from keras_facealign.landmarks import IBUG68

TARGET = Path(__file__).parents[1] / "keras_facealign" / "landmarks" / "mean_face68.json"
MESH = "generic_neutral_mesh.obj"
INDICES = "vertex_indices.json"

# The condition of the license: its text goes along with what is taken.
LICENSE = """MIT License

Copyright (c) 2020 USC Institute for Creative Technologies

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


def read_landmarks(source: Path) -> np.ndarray:
    """The 68 landmarks of the neutral head: (68, 3), centimeters, y up, z towards the viewer."""
    if source.is_dir():
        lines = (source / MESH).read_text(encoding="utf-8").splitlines()
        vertices = np.array([line.split()[1:4] for line in lines if line.startswith("v ")], float)
        record = json.loads((source / INDICES).read_text(encoding="utf-8"))
        return vertices[record["idx_to_landmark_verts"]]
    with np.load(source, allow_pickle=False) as arrays:
        return arrays["neutral"][arrays["idx_to_landmark_verts"]].astype(float)


def mean_face(landmarks: np.ndarray) -> np.ndarray:
    """The face in a camera's axes, symmetric and centerd: (68, 3)."""
    points = landmarks * [1, -1, -1]
    flipped = points[IBUG68.flip_permutation] * [-1, 1, 1]
    points = (points + flipped) / 2
    return points - points.mean(axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder FaceXModel of ICT-FaceKit, or .npz file")
    parser.add_argument("--output", type=Path, default=TARGET)
    args = parser.parse_args()
    record = {
        "about": "The 68 landmarks (iBUG order) of ICT-FaceKit's neutral head, in cm: x to the "
        "right of a frontal image, y down, z away from the camera; symmetric and centered.",
        "source": "https://github.com/ICT-VGL/ICT-FaceKit, FaceXModel/generic_neutral_mesh.obj",
        "license": LICENSE.splitlines(),
        "made_by": "benchmarks/derive_mean_face.py",
        "points": mean_face(read_landmarks(args.source)).round(4).tolist(),
    }
    head = json.dumps({k: v for k, v in record.items() if k != "points"}, indent=1)[:-2]
    rows = ",\n".join(f"  {json.dumps(point)}" for point in record["points"])
    args.output.write_text(f'{head},\n "points": [\n{rows}\n ]\n}}\n', encoding="utf-8")
    print(f"{args.output}: {len(record['points'])} points")


if __name__ == "__main__":
    main()
