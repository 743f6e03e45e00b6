#!/usr/bin/env bash
# A private sshd for provisioners that really run: sshd.sh FOLDER
#
# Listens on a free port of 127.0.0.1, lets in only the key that it makes, as the user that started it, and gives every connection (Packer
# keeps one for a whole build) a home of its own below FOLDER/homes. Prints {"port", "user", "key"} when it listens, and ends when
# its standard input closes.
set -euo pipefail

folder=$(mkdir -p "$1" && cd "$1" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${RECONCILER_TOOLS:-$here/../../.tools}
find_tool() { # the project's own copy, the PATH, or where Debian puts daemons
  local name=$1 place
  for place in "$tools/bin/$name" "$(command -v "$name" 2>/dev/null || true)" "/usr/sbin/$name" "/usr/lib/openssh/$name" "/usr/lib/$name"; do
    if [ -n "$place" ] && [ -x "$place" ]; then echo "$place"; return; fi
  done
  echo "sshd.sh: $name is missing; run \`make tools\`" >&2
  exit 1
}
sshd=$(find_tool sshd)
sftp=$(find_tool sftp-server)
keygen=$(find_tool ssh-keygen)

mkdir -p "$folder/homes"
chmod 700 "$folder"
[ -f "$folder/host_key" ] || "$keygen" -q -t ed25519 -N '' -f "$folder/host_key"
[ -f "$folder/user_key" ] || "$keygen" -q -t ed25519 -m PEM -N '' -f "$folder/user_key"
cp "$folder/user_key.pub" "$folder/authorized_keys"

# The home is keyed by the client's port: one connection, one build.
cat >"$folder/session" <<SESSION
#!/usr/bin/env bash
set -eu
port=\$(echo "\$SSH_CONNECTION" | cut -d' ' -f2)
export HOME="$folder/homes/\$port" LC_ALL=C.UTF-8
mkdir -p "\$HOME"
cd "\$HOME"
case "\${SSH_ORIGINAL_COMMAND:-}" in
  '') exec bash ;;
  *sftp-server*|internal-sftp*) exec "$sftp" ;;
  *) exec bash -c "\$SSH_ORIGINAL_COMMAND" ;;
esac
SESSION
chmod 700 "$folder/session"

start_sshd() { # on a port that nobody has
  local port
  for _ in $(seq 50); do
    port=$((20000 + RANDOM % 40000))
    cat >"$folder/sshd_config" <<CONFIG
Port $port
ListenAddress 127.0.0.1
HostKey $folder/host_key
AuthorizedKeysFile $folder/authorized_keys
PidFile $folder/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
PermitUserEnvironment no
PubkeyAcceptedKeyTypes +ssh-rsa
MaxSessions 100
MaxStartups 100
LogLevel ERROR
Subsystem sftp $sftp
ForceCommand $folder/session
CONFIG
    run_sshd &
    sshd_pid=$!
    for _ in $(seq 100); do
      if ! kill -0 "$sshd_pid" 2>/dev/null; then break; fi
      if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        echo "{\"port\": $port, \"user\": \"$(id -un)\", \"key\": \"$folder/user_key\"}"
        return
      fi
      sleep 0.05
    done
  done
  echo "sshd.sh: sshd did not start: $(tail -n 3 "$folder/sshd.log" 2>/dev/null)" >&2
  exit 1
}

# As root sshd insists on a user `sshd` and a folder /run/sshd. Where the machine has none, it gets both in a mount
# namespace of its own, so that the machine stays as it was.
run_sshd() {
  if [ "$(id -u)" != 0 ] || { getent passwd sshd >/dev/null && [ -d /run/sshd ]; }; then
    exec "$sshd" -D -e -f "$folder/sshd_config" 2>"$folder/sshd.log" </dev/null
  fi
  cp /etc/passwd "$folder/passwd"
  grep -q '^sshd:' "$folder/passwd" || echo 'sshd:x:65534:65534::/nonexistent:/usr/sbin/nologin' >>"$folder/passwd"
  mkdir -p "$folder/run"
  exec unshare --mount bash -c "
    mount --bind '$folder/passwd' /etc/passwd &&
    mount -t tmpfs -o mode=755 none /run && mkdir /run/sshd && chmod 755 /run/sshd &&
    exec '$sshd' -D -e -f '$folder/sshd_config'" 2>"$folder/sshd.log" </dev/null
}

sshd_pid=
trap '[ -z "$sshd_pid" ] || kill "$sshd_pid" 2>/dev/null || true' EXIT
trap 'exit 0' TERM INT
start_sshd
# Ends with whoever started it.
while read -r _; do :; done
