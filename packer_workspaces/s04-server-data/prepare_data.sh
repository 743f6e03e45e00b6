#!/usr/bin/env bash
# Makes a virtual environment with the packages that came along, and prepares the data in it. Asks no network.
set -euo pipefail

environment="$HOME/.venvs/server_data"
python3 -m venv --without-pip "$environment"
packages=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cp -R "$HOME/tools/packages/." "$packages/"
"$environment/bin/python" "$HOME/tools/prepare_data.py"
