#!/usr/bin/env bash
# Fetches the demo's prose: Debian's package r-cran-janeaustenr, unpacked without installing it (its
# dependencies, R among them, are not needed). Usage: tools/novels.sh OUT_DIR
set -euo pipefail
cd "$(dirname "$0")/.."
out=$1
[ -f "$out/train.jsonl" ] && [ -f "$out/held_out.txt" ] && exit 0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
(cd "$folder" && apt-get download -qq -o APT::Sandbox::User=root r-cran-janeaustenr) ||
  { echo "novels: apt-get cannot download r-cran-janeaustenr" >&2; exit 1; }
dpkg -x "$folder"/r-cran-janeaustenr_*.deb "$folder"
.deps/venv/bin/python tools/novels.py \
  "$folder/usr/lib/R/site-library/janeaustenr/data/Rdata.rdb" "$out"
