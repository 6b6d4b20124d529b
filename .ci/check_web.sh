#!/usr/bin/env bash
# Builds the browser demo and tests it in headless Chromium. Without Node.js, its registry or
# Chromium it says so and passes. PYTHON names an interpreter that has keras_facealign's packages:
# with it, the page's landmarks are compared with Python's.
set -euo pipefail
cd "$(dirname "$0")/../examples/mobile_web"

skip() {
    echo "The browser demo is not tested here: $1"
    exit 0
}

command -v node >/dev/null && command -v npm >/dev/null || skip "Node.js is missing."
node -e 'const [a, b] = process.versions.node.split(".").map(Number);
    process.exit(a > 22 || (a === 22 && b >= 12) || (a === 20 && b >= 19) ? 0 : 1)' ||
    skip "Node.js $(node --version) is too old or odd; it takes 20.19, 22.12 or later."
if [ -z "${CHROMIUM:-}" ]; then
    for name in chromium chromium-browser google-chrome; do
        CHROMIUM=$(command -v "$name") && break
    done
fi
[ -n "${CHROMIUM:-}" ] || skip "Chromium is missing."
timeout 60 npm ping >/dev/null 2>&1 || skip "the npm registry is out of reach."

export CHROMIUM
npm ci --no-progress
if grep -n '"resolved"' package-lock.json | grep -v 'https://registry.npmjs.org/'; then
    echo "package-lock.json names another registry"
    exit 1
fi
npm run lint
npm run build
npm test
