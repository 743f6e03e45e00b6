#!/usr/bin/env bash
# A private sshd that stands for all emulated instances, for provisioners that really run: sshd.sh FOLDER
#
# Listens on a free port of 127.0.0.1, as the user that started it. The emulator, once it was told of FOLDER/authorized_keys, keeps the disks of
# the instances in FOLDER/disks, and says which of them run and whom they let in (`disks.py`). A session has the disk of its instance for a home:
# of the one at whose address it was reached (`addresses.py`), or, at 127.0.0.1 itself, of the last one that was started with the key pair.
# The key that this script makes opens every instance, as a key would that the base image has. Prints {"port", "user", "key"} when it listens,
# and ends when its standard input closes.
#
# Where the machine lets us (as root), every instance has its home in the same place, FOLDER/home, so that what is written of it into files holds
# on the next instance too.
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

same_home=false
if [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then same_home=true; fi

mkdir -p "$folder"/{disks,home,keys,peers,running}
chmod 700 "$folder"
[ -f "$folder/host_key" ] || "$keygen" -q -t ed25519 -N '' -f "$folder/host_key"
[ -f "$folder/user_key" ] || "$keygen" -q -t ed25519 -m PEM -N '' -f "$folder/user_key"
echo "command=\"$folder/session any\" $(cat "$folder/user_key.pub")" >"$folder/authorized_keys"

# Finds the instance that was meant. What follows has its disk in the environment: all that does so is ended when the instance stops.
cat >"$folder/session" <<SESSION
#!/usr/bin/env bash
set -eu
key=\$1
from=\$(echo "\$SSH_CONNECTION" | cut -d' ' -f2)
if [ -f "$folder/peers/\$from" ]; then
  instance=\$(<"$folder/peers/\$from")
elif [ -f "$folder/keys/\$key" ]; then
  instance=\$(<"$folder/keys/\$key")
else
  echo "This is no instance: connect to the public address of one, or with the key pair that it was started with." >&2
  exit 255
fi
export INSTANCE_DISK="$folder/disks/\$instance"
exec "$folder/session_on_disk" "\$key" "$folder/running/\$instance"
SESSION

cat >"$folder/session_on_disk" <<SESSION
#!/usr/bin/env bash
set -eu
if [ ! -f "\$2" ]; then
  echo "The instance does not run." >&2
  exit 255
fi
if [ "\$1" != any ] && [ "\$1" != "\$(<"\$2")" ]; then
  echo "Permission denied (publickey)." >&2
  exit 255
fi
export HOME=\$INSTANCE_DISK LC_ALL=C.UTF-8
case "\${SSH_ORIGINAL_COMMAND:-}" in
  '') run=(bash) ;;
  *sftp-server*|internal-sftp*) run=("$sftp") ;;
  *) run=(bash -c "\$SSH_ORIGINAL_COMMAND") ;;
esac
if $same_home; then
  export HOME="$folder/home"
  exec unshare --mount bash -c 'mount --bind "\$INSTANCE_DISK" "\$HOME" && cd "\$HOME" && exec "\$@"' session "\${run[@]}"
fi
cd "\$HOME"
exec "\${run[@]}"
SESSION
chmod 700 "$folder/session" "$folder/session_on_disk"

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
CONFIG
    run_sshd &
    sshd_pid=$!
    for _ in $(seq 100); do
      if ! kill -0 "$sshd_pid" 2>/dev/null; then break; fi
      if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        echo "$port" >"$folder/port"
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
