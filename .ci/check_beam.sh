#!/usr/bin/env bash
# Runs the tests of Apache Beam, whose releases need older versions of protobuf and pyarrow than the
# rest: in an environment of its own, which takes everything else from that of development.
#
#     .ci/check_beam.sh
#
# PATH leads to a Python with the extra dev. Needs pip's access to a package index.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# It has the pip of the other.
python -m venv --without-pip "$work/env"
beam_python=$work/env/bin/python
"$beam_python" -c "
import pathlib, sys, sysconfig
line = f'import site; site.addsitedir({sys.argv[1]!r})'
pathlib.Path(sysconfig.get_path('purelib'), 'development.pth').write_text(line)
" "$(python -c "import sysconfig; print(sysconfig.get_path('purelib'))")"
beam=$(python -c "
import configparser
config = configparser.ConfigParser()
config.read('setup.cfg')
print(*(n for n in config['options.extras_require']['beam'].split() if n.startswith('apache')))")
"$beam_python" -m pip install -qq "$beam"
"$beam_python" -c 'import apache_beam' # without it the tests would skip themselves
PYTHONPATH=$PWD OMP_NUM_THREADS=1 "$beam_python" -m pytest -q -p no:cacheprovider \
    tests/corpus/test_beam.py tfds_builders/beam_test.py
