#!/usr/bin/env bash
# Draws the dashboards, light and dark, into grafana/pictures, with Grafana's own components in Chromium.
# Runs a program with troubles for five minutes first, and records what every panel shows; or draws what was
# recorded before: render.sh [RECORDED].
# Installs Chromium (apt) and some 440 MB of packages (npm) into this folder; needs `prometheus`, as ./test does.
set -euo pipefail
cd "$(dirname "$0")"
needs() { command -v "$1" >/dev/null || missing+=("$2"); }
missing=()
needs chromium chromium
needs prometheus prometheus
needs node nodejs
needs npm npm
if [ ${#missing[@]} -gt 0 ]; then
  apt-get update -q >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" fonts-inter >/dev/null
fi
npm ci --loglevel=error --no-audit --no-fund
if [ $# -gt 0 ]; then
  recorded=$1
else
  cargo build --quiet --release --example blizzard
  recorded=$(mktemp --suffix .json)
  node record.mjs "$recorded"
  echo "recorded in $recorded"
fi
node render.mjs "$recorded" ../pictures
