#!/usr/bin/env bash
# Holds deploy/reconciler.service to what it promises: systemd reads it without a complaint, and its exposure is 1.5 or better.
# Needs no running systemd. `make tools` unpacks systemd-analyze where the machine has none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unit=deploy/reconciler.service
most=15 # tenths: an exposure of 1.5

analyze=$(command -v systemd-analyze || echo "$PWD/.tools/bin/systemd-analyze")
[ -x "$analyze" ] || { echo "systemd-analyze is missing: run make tools" >&2; exit 1; }

# The program is not installed where the unit says; anything that can be executed does, for the unit's own form.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
sed "s|^ExecStart=/usr/local/bin/reconciler|ExecStart=$(command -v true)|" "$unit" >"$folder/reconciler.service"
complaints=$("$analyze" verify --man=no "$folder/reconciler.service" 2>&1 | grep -F "$folder/reconciler.service" || true)
if [ -n "$complaints" ]; then
  echo "$complaints" >&2
  exit 1
fi

if ! "$analyze" security --offline=true --threshold=$most "$unit" >"$folder/report"; then
  grep -F '✗' "$folder/report" >&2
  tail -n 1 "$folder/report" >&2
  exit 1
fi
tail -n 1 "$folder/report"
