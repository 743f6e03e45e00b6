"""The disks of instances: each is a home folder, which a snapshot keeps a copy of and a new instance begins with.

Nothing else of an instance is there. A disk is at the private sshd of the tests (`sshd.sh`), so there are none until a test or the demo says by
`/_control/authorized-keys` where that is. What is kept of a disk belongs to the root snapshot of an image: so it stays when an image is
deregistered, goes with the snapshot, and is there for another image that is registered with it, as at EC2.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from state import STATE


def place(name):
    """Where the disk of an instance or of a snapshot is."""
    return STATE.sshd / "disks" / name


def is_there(name):
    return STATE.sshd is not None and place(name).is_dir()


def begin(instance_id, snapshot_id):
    """A new disk, with what the snapshot holds, if there is one: nothing keeps moto's auto-scaling groups from images that are gone."""
    if snapshot_id and is_there(snapshot_id):
        copy(snapshot_id, instance_id)
    else:
        place(instance_id).mkdir(parents=True)


def copy(source, target, in_use=False):
    """Keeps what a disk holds now; of one in use what is found, for files come and go meanwhile."""
    if not is_there(source):
        return
    done = subprocess.run(["cp", "-a", "--reflink=auto", place(source), place(target)], stderr=subprocess.PIPE, text=True)
    if done.returncode != 0 and not in_use:
        raise OSError(f"the disk of {source} was not copied: {done.stderr}")


def free(name):
    if is_there(name):
        shutil.rmtree(place(name), ignore_errors=True)


def open_to(instance_id, key):
    """From now on the sshd lets in who has the key, by the address of the instance, or by the key alone as long as no later instance has it."""
    write(STATE.sshd / "running" / instance_id, key)
    write(STATE.sshd / "keys" / key, instance_id)


def close(instance_id):
    """Nobody is let in any more, and what runs is ended as by a power cut: whatever has the disk in its environment, which all that a session
    starts inherits. A session looks once more whether the instance runs when it has that, so none is missed."""
    (STATE.sshd / "running" / instance_id).unlink(missing_ok=True)
    end = time.monotonic() + 5
    while running := processes(instance_id):
        for process in running:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if time.monotonic() > end:
            raise OSError(f"processes of {instance_id} do not end: {running}")
        time.sleep(0.01)


def processes(instance_id):
    mark = f"INSTANCE_DISK={place(instance_id)}\0".encode()
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in environ.read_bytes():
                found.append(int(environ.parent.name))
        except OSError:
            continue
    return found


def let_in(public_key):
    """Makes a public key known to the sshd, under the name that `open_to` takes."""
    with STATE.lock, open(STATE.sshd / "authorized_keys", "a", encoding="utf-8") as file:
        file.write(f'command="{STATE.sshd}/session {name_of(public_key)}" {public_key.strip()}\n')


def name_of(public_key):
    return hashlib.sha256(public_key.split()[1].encode()).hexdigest()[:32]


def write(path, text):
    path.parent.mkdir(exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.rename(path)
