#!/usr/bin/env bash
# Sets up what the tests and the demo need, inside .tools/ of this project: Packer, sshd, a Python environment.
# What the machine has is used; what it lacks is unpacked from Debian's packages, without root and without installing a service.
# A second run finds everything and ends at once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=$PWD/.tools
stamp=$tools/stamp-$(cat scripts/tools.sh scripts/requirements.txt | sha256sum | cut -c1-16)
[ -f "$stamp" ] && exit 0
mkdir -p "$tools/bin" "$tools/deb" "$tools/root"

ask() { echo "make tools: $1" >&2; exit 1; }

unpack() { # unpack PACKAGE…: download and extract without installing
  (cd "$tools/deb" && apt-get download "$@" >apt.log 2>&1) ||
    ask "Debian's packages $* cannot be downloaded; as root run: apt-get update"
  for package in "$@"; do
    dpkg -x "$(ls -t "$tools"/deb/"$package"_*.deb | head -n 1)" "$tools/root"
  done
}

# Read whole: a `grep -q` that has seen enough breaks the pipe, which `pipefail` takes for an answer.
lacks() { # lacks FILE LIBRARY
  [[ "$(ldd "$1" 2>/dev/null || true)" == *"$2"*"not found"* ]]
}

# A program of ours starts with the libraries that were unpacked for it.
provide() { # provide NAME FILE
  rm -f "$tools/bin/$1"
  if lacks "$2" ''; then
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$tools/root/usr/lib/x86_64-linux-gnu:$tools/root/lib/x86_64-linux-gnu" "$2" >"$tools/bin/$1"
    chmod +x "$tools/bin/$1"
  else
    ln -sf "$2" "$tools/bin/$1"
  fi
}

for needed in cc git cargo python3; do
  command -v "$needed" >/dev/null || ask "$needed is missing; as root run: apt-get install build-essential git python3 python3-venv, and install Rust from rustup.rs"
done

if packer=$(command -v packer); then
  ln -sf "$packer" "$tools/bin/packer"
else
  unpack packer
  provide packer "$tools/root/usr/bin/packer"
fi

if ! command -v ssh-keygen >/dev/null; then
  unpack openssh-client
  provide ssh-keygen "$tools/root/usr/bin/ssh-keygen"
fi
if [ ! -x /usr/sbin/sshd ] || [ ! -x /usr/lib/openssh/sftp-server ]; then
  unpack openssh-server openssh-sftp-server
  if lacks "$tools/root/usr/sbin/sshd" libwrap; then unpack libwrap0; fi
  provide sftp-server "$tools/root/usr/lib/openssh/sftp-server"
  provide sshd "$tools/root/usr/sbin/sshd"
  # sshd starts itself again by its own path, so it cannot stand behind a script.
  if [ ! -L "$tools/bin/sshd" ]; then
    printf '#!/bin/sh\nexport LD_LIBRARY_PATH=%s\nexec %s "$@"\n' "$tools/root/usr/lib/x86_64-linux-gnu:$tools/root/lib/x86_64-linux-gnu" "$tools/root/usr/sbin/sshd" >"$tools/bin/sshd"
  fi
fi

if ! command -v systemd-analyze >/dev/null; then
  unpack systemd libsystemd-shared
  # Its own library lies in a folder of its own, which is built into it with the whole path.
  shared=$(dirname "$(find "$tools/root" -name 'libsystemd-shared-*.so' | head -n 1)")
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$shared:$tools/root/usr/lib/x86_64-linux-gnu" "$(find "$tools/root" -name systemd-analyze -type f -perm -u+x | head -n 1)" >"$tools/bin/systemd-analyze"
  chmod +x "$tools/bin/systemd-analyze"
fi

if [ ! -e /usr/include/openssl/ssl.h ] && ! pkg-config --exists openssl 2>/dev/null; then
  unpack libssl-dev
fi

if ! "$tools/venv/bin/python" -c 'import moto, jinja2, packer_ami_workflow' 2>/dev/null; then
  rm -rf "$tools/venv"
  python3 -m venv "$tools/venv" >"$tools/venv.log" 2>&1 || ask "python3 cannot make a virtual environment; as root run: apt-get install python3-venv"
  "$tools/venv/bin/pip" install --quiet --disable-pip-version-check -r scripts/requirements.txt ||
    ask "the Python packages of scripts/requirements.txt cannot be installed"
fi
rm -f "$tools"/stamp-*
touch "$stamp"
