#!/usr/bin/env bash
# Fails unless the wheel finds landmarks with LiteRT alone: no Keras, no TensorFlow, small and quick.
#
#     .ci/check_litert.sh WHEEL PHOTO
#
# PHOTO is scikit-image's astronaut. Needs python3 and uv with access to a package index.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
wheel=$(realpath "$1")
photo=$(realpath "$2")
max_megabytes=350
max_seconds=0.1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH KERAS_BACKEND
cd "$work" # away from the source tree, which Python would otherwise import

python3 -m venv --without-pip env
python=$work/env/bin/python
before=$(du -sm env | cut -f1)
uv pip install -q --python "$python" "$wheel[litert]"
megabytes=$(($(du -sm env | cut -f1) - before))
echo "installed: $megabytes MB"

"$python" - "$max_seconds" <<'PYTHON'
import importlib.util
import subprocess
import sys

present = [name for name in ("keras", "tensorflow", "mtcnn") if importlib.util.find_spec(name)]
if present:
    sys.exit(f"installed although nothing asked for it: {', '.join(present)}")
clock = (
    "import time; start = time.process_time(); import keras_facealign; "
    "print(time.process_time() - start)"
)
command = [sys.executable, "-c", clock]
seconds = min(float(subprocess.check_output(command)) for _ in range(5))
print(f"import keras_facealign: {seconds:.3f} s")
if seconds > float(sys.argv[1]):
    sys.exit(f"importing takes more than {sys.argv[1]} s")
PYTHON

preset=sat1_cab_mobile
if [ ! -f "$root/saved_models/$preset/model.tflite" ]; then
    echo "No model.tflite is bundled: nothing to align with."
else
    env/bin/keras-facealign align "$photo" --output out --preset $preset
    "$python" "$root/.ci/check_faces.py" out
    mkdir frames
    for frame in 0 1 2; do cp "$photo" "frames/$frame.${photo##*.}"; done
    env/bin/keras-facealign video frames --json video.json --preset $preset
    "$python" -c "
import json
faces = [len(frame['faces']) for frame in json.load(open('video.json'))['frames']]
assert faces == [1, 1, 1], faces"
fi
if [ "$megabytes" -gt $max_megabytes ]; then
    echo "installed $megabytes MB, more than $max_megabytes" >&2
    exit 1
fi
