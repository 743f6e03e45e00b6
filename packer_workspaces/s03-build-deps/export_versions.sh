#!/usr/bin/env bash
# Exports the versions that later steps build against.
set -euo pipefail

mkdir -p "$HOME/build_deps"
{
  echo "export CMAKE_VERSION=3.31"
  echo "export CLANG_VERSION=19"
} > "$HOME/build_deps/versions.sh"
echo "versions are in $HOME/build_deps/versions.sh"
