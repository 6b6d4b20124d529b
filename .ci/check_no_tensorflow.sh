#!/usr/bin/env bash
# Fails unless the wheel works with JAX alone: no TensorFlow, native code compiled on first use
# where there is a compiler, and a bundled network that finds a face's landmarks.
#
#     .ci/check_no_tensorflow.sh WHEEL PHOTO
#
# PHOTO is scikit-image's astronaut. Needs python3 and uv with access to a package index.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
wheel=$(realpath "$1")
photo=$(realpath "$2")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH KERAS_FACEALIGN_NATIVE
export KERAS_BACKEND=jax KERAS_FACEALIGN_CACHE=$work/cache
cd "$work" # away from the source tree, which Python would otherwise import

python3 -m venv --without-pip env
python=$work/env/bin/python
uv pip install -q --python "$python" "$wheel[jax]"
run_without_tensorflow() { # runs a command, if one is given, in the process of the check
    "$python" -c "
import importlib.util, sys
import keras_facealign, keras_facealign.data, keras_facealign.export, keras_facealign.layers
from keras_facealign.cli import main
code = main(sys.argv[1:]) if sys.argv[1:] else 0
found = [n for n in ('tensorflow', 'torch') if importlib.util.find_spec(n) or n in sys.modules]
sys.exit(f'installed although nothing asked for it: {found}' if found else code)" "$@"
}

way=portable
for compiler in ${CXX:-g++ clang++ c++}; do
    if command -v "$compiler" >/dev/null; then way=native; fi
done
"$python" "$root/.ci/check_deformable.py" "$way"

preset=sat1_cab_mobile
if [ ! -f "$root/saved_models/$preset/model.weights.h5" ]; then
    echo "No preset with weights is bundled: nothing to align with."
    run_without_tensorflow
else
    run_without_tensorflow align "$photo" --output out --preset $preset --runtime keras
    "$python" "$root/.ci/check_faces.py" out
fi
