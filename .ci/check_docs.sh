#!/usr/bin/env bash
# Builds the documentation site, fails on any warning and on anything that the site would load from
# another host, and runs the code of its tutorials.
#
#     .ci/check_docs.sh
#
# PATH leads to a Python with the extra dev. Where that of docs is missing too, it is installed into
# an environment of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! command -v mkdocs >/dev/null; then
    python3 -m venv "$work/env"
    mapfile -t needs < <(python3 -c "
import configparser
config = configparser.ConfigParser()
config.read('setup.cfg')
print(config['options.extras_require']['docs'].strip())")
    "$work/env/bin/python" -m pip install -qq "${needs[@]}"
    PATH=$PATH:$work/env/bin
fi
NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet --site-dir "$work/site"
python .ci/check_site.py "$work/site"
python .ci/make_notebooks.py --check
python .ci/run_tutorials.py
