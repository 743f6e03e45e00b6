#!/usr/bin/env bash
# Sets up what the tests and the demo need, inside .tools/ of this project: Packer, sshd, Prometheus, a Python environment.
# What the machine has is used; what it lacks is unpacked from Debian's packages, without root and without installing a service.
# A second run finds everything and ends at once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=$PWD/.tools
stamp=$tools/stamp-$(cat scripts/tools.sh scripts/requirements.txt | sha256sum | cut -c1-16)
[ -f "$stamp" ] && exit 0
mkdir -p "$tools/bin" "$tools/deb" "$tools/root"

ask() { echo "make tools: $1" >&2; exit 1; }

for needed in cc git cargo python3; do
  command -v "$needed" >/dev/null || ask "$needed is missing; as root run: apt-get install build-essential git python3 python3-venv, and install Rust from rustup.rs"
done
machine=$(cc -print-multiarch)
libraries=$tools/root/usr/lib/$machine:$tools/root/lib/$machine

download() { # download PACKAGE: extract it without installing
  (cd "$tools/deb" && apt-get download "$1" >apt.log 2>&1) || return 1
  dpkg -x "$(ls -t "$tools"/deb/"$1"_*.deb | head -n 1)" "$tools/root"
}

unpack() { # unpack PACKAGE…
  local package
  for package in "$@"; do
    download "$package" || ask "Debian's package $package cannot be downloaded; as root run: apt-get update"
  done
}

# Outputs are kept in variables before they are looked at: with pipefail, a `grep -q` that has seen enough would fail its pipe.
lacks_libraries() { # lacks_libraries FILE
  local said
  said=$(LD_LIBRARY_PATH=$libraries ldd "$1" 2>/dev/null) || true
  [[ $said == *'not found'* ]]
}

# The libraries that a package depends on and this machine does not have.
unpack_libraries() { # unpack_libraries PACKAGE
  local all package
  all=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$1" 2>/dev/null) || true
  for package in $(grep '^lib' <<<"$all" | sort -u); do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || download "$package" || true
  done
}

# A program of ours starts with the libraries that were unpacked for it; one that starts others by its own path cannot stand behind a
# link, so it always gets a script.
provide() { # provide NAME FILE PACKAGE
  if lacks_libraries "$2"; then unpack_libraries "$3"; fi
  if lacks_libraries "$2"; then ask "$2 lacks libraries; as root run: apt-get install $3"; fi
  rm -f "$tools/bin/$1"
  printf '#!/bin/sh\nexport LD_LIBRARY_PATH=%s\nexec %s "$@"\n' "$libraries" "$2" >"$tools/bin/$1"
  chmod +x "$tools/bin/$1"
}

if packer=$(command -v packer); then
  ln -sf "$packer" "$tools/bin/packer"
else
  unpack packer
  provide packer "$tools/root/usr/bin/packer" packer
fi

if ! command -v ssh-keygen >/dev/null; then
  unpack openssh-client
  provide ssh-keygen "$tools/root/usr/bin/ssh-keygen" openssh-client
fi
if [ ! -x /usr/sbin/sshd ] || [ ! -x /usr/lib/openssh/sftp-server ]; then
  unpack openssh-server openssh-sftp-server
  provide sftp-server "$tools/root/usr/lib/openssh/sftp-server" openssh-sftp-server
  provide sshd "$tools/root/usr/sbin/sshd" openssh-server
fi

if ! command -v systemd-analyze >/dev/null; then
  unpack systemd libsystemd-shared
  # Its own library lies in a folder of its own, which is built into it with the whole path.
  shared=$(dirname "$(find "$tools/root" -name 'libsystemd-shared-*.so' | head -n 1)")
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$shared:$libraries" "$(find "$tools/root" -name systemd-analyze -type f -perm -u+x | head -n 1)" >"$tools/bin/systemd-analyze"
  chmod +x "$tools/bin/systemd-analyze"
fi

# Looks at the metrics, and checks the alert rules.
for program in prometheus promtool; do
  if ! command -v "$program" >/dev/null; then
    [ -x "$tools/root/usr/bin/$program" ] || unpack prometheus
    provide "$program" "$tools/root/usr/bin/$program" prometheus
  fi
done

# Without pkg-config the build does not find the headers of OpenSSL that are there.
if ! pkg-config --exists openssl 2>/dev/null; then
  unpack libssl-dev
  # The compiler is told one folder; Debian keeps the machine's own headers in another.
  cp "$tools/root/usr/include/$machine/openssl/"*.h "$tools/root/usr/include/openssl/"
fi

if ! "$tools/venv/bin/python" -c 'import moto, jinja2, packer_ami_workflow, jsonschema, yaml' 2>/dev/null; then
  rm -rf "$tools/venv"
  python3 -m venv "$tools/venv" >"$tools/venv.log" 2>&1 || ask "python3 cannot make a virtual environment; as root run: apt-get install python3-venv"
  "$tools/venv/bin/pip" install --quiet --disable-pip-version-check -r scripts/requirements.txt ||
    ask "the Python packages of scripts/requirements.txt cannot be installed"
fi

# Only what starts is there.
CHECKPOINT_DISABLE=1 "$tools/bin/packer" version >/dev/null || ask "$tools/bin/packer does not start"
if [ -e "$tools/bin/promtool" ]; then
  "$tools/bin/promtool" --version >/dev/null 2>&1 || ask "$tools/bin/promtool does not start"
fi
if [ -e "$tools/bin/sshd" ]; then
  said=$("$tools/bin/sshd" -V 2>&1) || true
  [[ $said == *OpenSSH* ]] || ask "$tools/bin/sshd does not start: $said"
fi
rm -f "$tools"/stamp-*
touch "$stamp"
