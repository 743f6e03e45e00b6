"""Emulated hosts: each a PID namespace with a home, a state folder and a daemon, which can lose its power, its disk or its last writes.

What runs on a host is read from /proc: by the namespace, or, on a machine that allows none, by the folder of the host in what a process was
given.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

HERE = Path(__file__).resolve().parent
NAMESPACE = ["unshare", "-rpf", "--mount-proc", "--kill-child"]

# A kernel writes back what nobody asked it to after some seconds; what is younger may be lost.
WRITTEN_BACK_SECONDS = 5.0


@dataclass(frozen=True)
class Process:
    """A process of a host: its id here, its start by which the id is known again, and what it is."""

    pid: int
    start: int
    kind: str

    def alive(self) -> bool:
        state = stat(self.pid)
        return state is not None and state[2] == self.start

    def signal(self, number: int) -> bool:
        """False if it had ended before."""
        if not self.alive():
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True


def stat(pid: int) -> tuple[str, int, int] | None:
    """State, parent and start time; none of one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else (fields[0], int(fields[1]), int(fields[19]))


def words_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def kind_of(words: list[str], parent: list[str], binary: Path) -> str:
    """daemon, supervisor, command; wrapper, inner, plugin of a Packer; other."""
    for at, word in enumerate(words[:4]):
        rest = words[at + 1 :] or [""]
        if word == str(binary):
            return {"run": "daemon", "supervise": "supervisor", "fetch": "fetcher"}.get(rest[0], "command")
        if word.endswith("/packer"):
            if rest[0] in ("plugin", "start", "execute"):
                return "plugin"
            if rest[0] != "build":
                return "other"
            return "wrapper" if "supervise" in parent[:3] else "inner"
        if "packer-plugin-" in word:
            return "plugin"
    return "other"


def namespaces_allowed() -> bool:
    done = subprocess.run([*NAMESPACE, "true"], stdin=subprocess.DEVNULL, capture_output=True)
    return done.returncode == 0


class Host:
    """One host. It is dark until `up`."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str], binary: Path, namespaced: bool):
        self.name, self.folder, self.binary, self.namespaced = name, folder, binary, namespaced
        self.state, self.synced = folder / "state", folder / "synced"
        self.environment = {**environment, "RECONCILER_HOST": name, "HOME": str(folder / "home")}
        self.root: subprocess.Popen | None = None
        self.ended: dict[str, int] = {}
        self.commands = 0
        # What else lies on its disk, and has to outlive a loss of the state folder.
        self.inventory: Path | None = None
        (folder / "home/.aws").mkdir(parents=True)
        self.state.mkdir()

    # Power

    def up(self) -> None:
        """Switches it on; no daemon runs yet."""
        if self.root is not None:
            return
        command = [sys.executable, "-I", str(HERE / "init.py")]
        self.root = subprocess.Popen(
            [*NAMESPACE, *command] if self.namespaced else command,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder / "home")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        assert self.root.stdout is not None
        self.root.stdout.readline()
        self.ended = {}
        threading.Thread(target=self._hear, args=(self.root, self.ended), daemon=True).start()
        self.init = self._first()

    def _hear(self, root: subprocess.Popen, ended: dict[str, int]) -> None:
        assert root.stdout is not None
        for line in root.stdout:
            said = json.loads(line)
            ended[said["tag"]] = said["code"]

    def _first(self) -> int:
        """The id of the first process as it is seen from here."""
        assert self.root is not None
        if not self.namespaced:
            return self.root.pid
        return int(Path(f"/proc/{self.root.pid}/task/{self.root.pid}/children").read_text().split()[0])

    def power_loss(self, disk: str, dice: random.Random) -> None:
        """Everything ends at once. The disk is `kept` as it is, `lost`, or `unsynced`: less what was not made safe."""
        if self.root is not None:
            inside = list(self.processes())
            try:
                os.kill(self.init, signal.SIGKILL)
            except ProcessLookupError:
                pass
            for process in inside:
                process.signal(signal.SIGKILL)
            self.root.wait()
            self.root = None
            wait_for(lambda: not any(process.alive() for process in inside), 10)
        if disk == "lost":
            self.remove_state_folder()
        elif disk == "unsynced":
            self._lose_what_is_not_safe(dice)

    def remove_state_folder(self) -> None:
        """It is empty afterwards, and another folder than before."""
        shutil.rmtree(self.state, ignore_errors=True)
        self.state.mkdir(exist_ok=True)

    def _lose_what_is_not_safe(self, dice: random.Random) -> None:
        safe: dict[int, int] = {}
        if self.synced.exists():
            for line in self.synced.read_text().splitlines():
                inode, _, size = line.partition(" ")
                safe[int(inode)] = int(size)
        beside = sorted(self.inventory.parent.glob(f"{self.inventory.name}*")) if self.inventory else []
        for path in [*sorted(self.state.rglob("*")), *beside]:
            try:
                known = path.lstat()
            except OSError:
                continue
            young = time.time() - known.st_mtime < WRITTEN_BACK_SECONDS
            if path.is_symlink() or not path.is_file() or not young or dice.random() < 0.3:
                continue
            if known.st_ino in safe:
                if known.st_size > safe[known.st_ino]:
                    os.truncate(path, safe[known.st_ino])
            elif dice.random() < 0.5:
                path.unlink()
            else:
                os.truncate(path, 0)

    def write_credentials(self, text: str) -> None:
        """As a tool does that rotates them: another file under the same name."""
        beside = self.folder / "home/.aws/credentials.new"
        beside.write_text(text)
        beside.rename(self.folder / "home/.aws/credentials")

    # What runs on it

    def start(self, *arguments: str, log: str = "daemon.log") -> str:
        """Starts the program; the tag under which `code` tells how it ended."""
        assert self.root is not None and self.root.stdin is not None
        self.commands += 1
        tag = f"{arguments[0]} {self.commands}"
        order = {
            "tag": tag,
            "argv": [str(self.binary), *arguments],
            "env": self.environment,
            "folder": str(self.folder),
            "log": str(self.folder / log),
        }
        self.root.stdin.write(json.dumps(order) + "\n")
        self.root.stdin.flush()
        return tag

    def code(self, tag: str, seconds: float) -> int | None:
        """The exit code of what was started under this tag; none if it goes on."""
        wait_for(lambda: tag in self.ended, seconds)
        return self.ended.get(tag)

    def processes(self) -> Iterator[Process]:
        """All but the first."""
        if self.root is None:
            return
        try:
            namespace = os.readlink(f"/proc/{self.init}/ns/pid")
        except OSError:
            return
        marks = [f"HOME={self.folder}/home".encode()]
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit() or int(entry.name) in (self.init, self.root.pid):
                continue
            pid = int(entry.name)
            try:
                if self.namespaced:
                    mine = os.readlink(f"/proc/{pid}/ns/pid") == namespace
                else:
                    mine = any(mark in Path(f"/proc/{pid}/environ").read_bytes() for mark in marks)
            except OSError:
                continue
            known = stat(pid) if mine else None
            if known is not None:
                yield Process(pid, known[2], kind_of(words_of(pid), words_of(known[1]), self.binary))

    def find(self, kind: str) -> Process | None:
        return next((process for process in self.processes() if process.kind == kind), None)

    def start_daemon(self) -> None:
        self.up()
        if self.find("daemon") is None:
            self.start("run")
            wait_for(lambda: self.find("daemon") is not None, 5)

    def stop_daemon(self, number: int, seconds: float = 30.0) -> bool:
        """Whether it has ended, or there was none."""
        daemon = self.find("daemon")
        if daemon is None:
            return True
        daemon.signal(number)
        return wait_for(lambda: not daemon.alive(), seconds)

    def go_on(self) -> None:
        """Continues what stands still."""
        for process in self.processes():
            process.signal(signal.SIGCONT)

    def said(self) -> str:
        """All logs of the program on this host."""
        texts = [path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log"))]
        texts += [path.read_text(errors="replace") for path in sorted(self.state.glob("builds/*/supervisor.log"))]
        return "\n".join(texts)


def wait_for(test, seconds: float) -> bool:
    """Waits until something is so; false if it does not come."""
    end = time.monotonic() + seconds
    while not test():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
