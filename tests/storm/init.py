"""The first process of an emulated host: starts what it is told to, and takes in whoever loses its parent.

Reads lines of JSON, {"tag", "argv", "env", "folder", "log"}, from its standard input, and ends when that closes. Of each that it started it
prints one line, {"tag", "code"}, when it has ended. Killed as process 1 of a PID namespace, it takes all others of the namespace with it,
between two of their instructions: a power loss.
"""

import json
import os
import select
import signal
import sys


def start(order: dict) -> int:
    """Starts a program in a session of its own, and gives its process id."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.closerange(3, 256)
    os.chdir(order["folder"])
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        os.execve(order["argv"][0], order["argv"], order["env"])
    finally:
        os._exit(127)


def reap(tags: dict[int, str]) -> None:
    """Takes in who has ended, and tells of those that were started here."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid in tags:
            print(json.dumps({"tag": tags.pop(pid), "code": os.waitstatus_to_exitcode(status)}), flush=True)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tags: dict[int, str] = {}
    print(json.dumps({"ready": True}), flush=True)
    rest = b""
    while True:
        if select.select([0], [], [], 0.05)[0]:
            more = os.read(0, 1 << 16)
            if not more:
                return
            *lines, rest = (rest + more).split(b"\n")
            for line in lines:
                order = json.loads(line)
                tags[start(order)] = order["tag"]
        reap(tags)


if __name__ == "__main__":
    sys.exit(main())
