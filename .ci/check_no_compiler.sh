#!/usr/bin/env bash
# Fails unless the wheel installs and works where there is no compiler, with TensorFlow.
#
#     .ci/check_no_compiler.sh WHEEL [ENVIRONMENT]
#
# ENVIRONMENT is the folder of the virtual environment, which then stays; default: a temporary one.
# Needs python3 and uv with access to a package index: uv takes a fraction of pip's processor time
# for the same packages.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
wheel=$(realpath "$1")
python3=$(command -v python3)
uv=$(command -v uv)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
env=$(realpath -m "${2:-$work/env}")
cd "$work" # away from the source tree, which Python would otherwise import

if "$python3" -m zipfile -l "$wheel" | grep -q '\.so '; then
    echo "$wheel contains compiled code, which makes this check meaningless." >&2
    exit 1
fi
# PATH holds the environment alone, so that no compiler is found; CC and CXX are not passed on.
without_compiler() {
    env -u CC -u CXX -u KERAS_BACKEND -u PYTHONPATH -u KERAS_FACEALIGN_NATIVE \
        PATH="$env/bin" KERAS_FACEALIGN_CACHE="$work/cache" TF_CPP_MIN_LOG_LEVEL=3 "$@"
}
"$python3" -m venv --without-pip "$env"
without_compiler "$uv" pip install -q --python "$env/bin/python" "$wheel[tensorflow]"
without_compiler keras-facealign --version
without_compiler python "$root/.ci/check_deformable.py" portable
