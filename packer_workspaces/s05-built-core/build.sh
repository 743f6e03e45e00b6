#!/usr/bin/env bash
# Builds the application from the uploaded repository. It changes daily, so this step comes last.
set -euo pipefail

source "$HOME/build_deps/versions.sh"
mkdir -p "$HOME/server/bin"
cat > "$HOME/server/bin/server" <<SERVER
#!/bin/sh
echo "server ($BUILD_TYPE, clang $CLANG_VERSION, cmake $CMAKE_VERSION)"
SERVER
chmod +x "$HOME/server/bin/server"
"$HOME/server/bin/server"
