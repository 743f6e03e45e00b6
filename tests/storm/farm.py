"""One farm of the storm: an emulated AWS, a repository, one to three hosts; round after round of weather, and rest after each."""

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import deeds
from aws import ROOT, TABLE, Emulator, credentials, environment, read_dynamodb, read_sqlite
from git import GitServer, Repository
from hosts import Host, wait_for
from oracle import MOST_FILES, MOST_MEMORY_MIB, MOST_PACKS, Look, Loss, Oracle, wait_for_rest
from weather import events

TRANSCRIPT = """version 1.6.6
[build]
key
group
instance
run install.sh
image
say Terminating the source AWS instance...
terminate
ungroup
unkey
artifact
say Build 'amazon-ebs.x' finished.
on-term
error Cancelling build after receiving terminated
terminate
ungroup
unkey
exit 1
"""


@dataclass(frozen=True)
class Shape:
    """What a farm is made of."""

    store: str
    origin: str
    hosts: int
    workflows: int
    # None: tests/fake_packer.py.
    packer: Path | None

    def __str__(self) -> str:
        packer = self.packer or "fake Packer"
        return f"{self.store}, {self.origin}, {self.hosts} hosts, {self.workflows} workflows, {packer}"


@dataclass
class Figures:
    """What happened, counted."""

    counts: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)

    def add(self, what: str, number: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + number

    def reach(self, what: str, number: int) -> None:
        self.most[what] = max(self.most.get(what, 0), number)

    def join(self, other: "Figures") -> None:
        for what, number in other.counts.items():
            self.add(what, number)
        for what, number in other.most.items():
            self.reach(what, number)


class Broken(Exception):
    """A round after which something does not hold."""


class Farm:
    """A farm. The file `story` in its folder tells what happened, so that a round can be understood."""

    def __init__(self, shape: Shape, seed: str, binary: Path, namespaced: bool, longest: float):
        self.shape, self.seed, self.longest = shape, seed, longest
        self.dice = random.Random(seed)
        # What an administrator may have chosen.
        self.policy = {
            "on_superseded": self.dice.choice(["finish", "finish", "cancel"]),
            "on_shutdown": self.dice.choice(["leave", "leave", "cancel"]),
            "max_concurrent_builds": self.dice.choice([1, 2, 4]),
        }
        # Containers and clones of a machine may bear one name.
        self.one_name = self.dice.random() < 0.3
        # Short: sockets of Packer's plugins stand below it.
        self.folder = Path(tempfile.mkdtemp(prefix="storm-"))
        self.figures, self.begin = Figures(), time.monotonic()
        self.emulator = Emulator()
        self.repository = Repository(self.folder, "us-east-1", shape.workflows, random.Random(f"{seed} git"))
        self.server = GitServer(self.folder) if shape.origin == "http" else None
        self.inventory = self.folder / "inventory.sqlite"
        self.hosts = [self._host(f"h{number}", binary, namespaced) for number in range(1, shape.hosts + 1)]
        dynamodb = self.emulator.client("dynamodb")
        tables = (lambda: read_dynamodb(dynamodb)) if shape.store == "dynamodb" else (lambda: read_sqlite(self.inventory))
        self.oracle = Oracle(self.emulator, tables)
        self.emulator.tell("pending", {"seconds": self.dice.choice([0.0, 0.0, 1.0, 3.0])})
        self.disturbed = False
        self.to_retry: set[str] = set()
        self.rotations = 0
        self.tell(f"{seed}: {shape}, {self.policy}, {'hosts of one name' if self.one_name else 'hosts of their own names'}")
        for host in self.hosts:
            host.start_daemon()

    def tell(self, text: str) -> None:
        """A line of the story: what was done to this farm, and when."""
        with open(self.folder / "story", "a", encoding="utf-8") as story:
            story.write(f"{time.monotonic() - self.begin:7.2f} {text}\n")

    # Set-up

    def _host(self, name: str, binary: Path, namespaced: bool) -> Host:
        folder = self.folder / name
        configuration = folder / "reconciler.yaml"
        host = Host(name, folder, environment(configuration), binary, namespaced)
        host.write_credentials(credentials("key-0"))
        configuration.write_text(json.dumps(self._configuration(host), indent=1))
        if self.shape.store == "sqlite" and self.shape.hosts == 1:
            host.inventory = self.inventory
        if self.one_name:
            host.environment["RECONCILER_HOST"] = "localhost"
        library = unsynced_library(self.folder)
        if library:
            host.environment |= {"LD_PRELOAD": str(library), "STORM_SYNCED": str(host.synced)}
        return host

    def _configuration(self, host: Host) -> dict:
        bare = self.repository.bare
        url = {"path": str(bare), "file": f"file://{bare}", "http": self.server.url(bare.name) if self.server else ""}[self.shape.origin]
        repository = {"name": "repo", "reference": "main", "path" if self.shape.origin == "path" else "url": url, "poll_interval": "1s"}
        overrides = {"skip_region_validation": True, "skip_metadata_api_check": True}
        packer = self.shape.packer or self._fake_packer()
        if self.shape.packer and is_old(self.shape.packer):
            overrides["custom_endpoint_ec2"] = self.emulator.endpoint
        return {
            "state_dir": str(host.state),
            "repositories": [repository],
            "inventory": {"table": TABLE} if self.shape.store == "dynamodb" else {"path": str(self.inventory)},
            "aws": {"endpoint_url": self.emulator.endpoint, "emulator": {"source_overrides": overrides}},
            "packer": {"binary": str(packer), "timeout": "3m", "grace": "2s"},
            "lease_duration": "4s",
            "interval": "1s",
            "retry": {"initial": "1s", "max": "2s", "person": "1s"},
            **self.policy,
        }

    def _fake_packer(self) -> Path:
        folder = self.folder / "bin"
        if not folder.exists():
            folder.mkdir()
            (folder / "packer").symlink_to(ROOT / "tests/fake_packer.py")
            (folder / "transcript").write_text(TRANSCRIPT)
        return folder / "packer"

    # A round

    def round(self, number: int) -> None:
        """Weather, then rest; `Broken` if then something does not hold."""
        self.tell(f"round {number}")
        # Of its own, so that what a round draws depends on nothing that was before.
        self.dice = random.Random(f"{self.seed} round {number}")
        # Where builds are cancelled by themselves, what they have made may go.
        self.disturbed, self.to_retry = "cancel" in self.policy.values(), set()
        may_lose_disk = self.shape.store == "dynamodb"
        real = self.shape.packer is not None
        for event in events(self.dice, len(self.hosts), real_packer=real, may_lose_disk=may_lose_disk, first=number == 0):
            time.sleep(event.pause)
            self.tell(str(event))
            try:
                deeds.do(self, event)
            except Exception as error:
                raise Broken(f"the storm itself failed at `{event}`: {error!r}") from error
        self._rest()
        self.figures.add("rounds")

    def _rest(self) -> None:
        """Faults off, one daemon; it must come to rest as if nothing had happened."""
        self.emulator.tell("faults", [])
        if self.dice.random() < 0.85 and self.repository.mend():
            self.tell("push: mended")
            self.repository.push("mended")
        survivor = self.dice.choice(self.hosts)
        for host in self.hosts:
            host.go_on()
            for process in [one for one in host.processes() if one.kind == "command"]:
                process.signal(signal.SIGTERM)
            if host is not survivor:
                self._leave(host)
        self.tell(f"rest: {survivor.name} is to do it")
        survivor.start_daemon()
        self.oracle.host_is_back(survivor.name)
        rested, last = self._wait(survivor, 25 if self.to_retry else self.longest)
        if not rested and not last.wrong and self.to_retry:
            self.retry_cancelled(survivor)
            rested, last = self._wait(survivor, self.longest)
        if not rested:
            raise Broken("\n".join(last.wrong or last.waiting))
        self.oracle.losses = [loss for loss in self.oracle.losses if not loss.disk_is_gone]
        self._measure(survivor)
        self._count()
        if self.dice.random() < 0.5:
            self._stop_all()
        self._look_for_panics()
        for host in self.hosts:
            host.start_daemon()

    def _leave(self, host: Host) -> None:
        """What becomes of a host that is not to do it: its builds may go on without it."""
        how = self.dice.choice(["stopped", "killed", "dark"])
        self.tell(f"rest: {host.name} is {how}")
        if how == "dark":
            self.lose_power(host, "kept")
        elif not host.stop_daemon(signal.SIGTERM if how == "stopped" else signal.SIGKILL):
            raise Broken(f"the daemon of {host.name} did not end within 30 s")

    def lose_power(self, host: Host, disk: str) -> None:
        self.disturbed = True
        host.power_loss(disk, self.dice)
        self.oracle.losses.append(Loss(time.time(), host.name, disk != "kept"))

    def rotate_credentials(self) -> None:
        """New ones in every home, and the old ones have expired."""
        self.disturbed = True
        self.rotations += 1
        for host in self.hosts:
            host.write_credentials(credentials(f"key-{self.rotations}"))
        self.emulator.tell("refuse-keys", {f"key-{number}": "expired" for number in range(self.rotations)})

    def _wait(self, survivor: Host, seconds: float) -> tuple[bool, Look]:
        def look() -> Look:
            builds = self._builds()
            if not builds:
                self.oracle.remove_untold()
            if survivor.find("daemon") is None:
                found = Look()
                found.wrong.append(f"the daemon of {survivor.name} ended by itself")
                return found
            return self.oracle.look(self.repository.model, builds)

        return wait_for_rest(look, seconds)

    def _builds(self) -> list[str]:
        kinds = ("supervisor", "wrapper", "inner", "plugin", "other")
        return [f"{process.kind} {process.pid} on {host.name}" for host in self.hosts for process in host.processes() if process.kind in kinds]

    def retry_cancelled(self, host: Host) -> None:
        """What a person has cancelled waits for a person."""
        cancelled = [(workflow, step) for workflow, step in self.oracle.tables().cancelled() if workflow in {one.workflow_id for one in self.repository.model.values()}]
        for workflow, step in cancelled:
            self.tell(f"retry {workflow}/{step}, which was cancelled")
            host.code(host.start("retry", step, "--workflow", workflow, log="commands.log"), 60)

    def _measure(self, host: Host) -> None:
        """Open files, memory and packs of the daemon."""
        daemon = host.find("daemon")
        if daemon is None:
            raise Broken(f"the daemon of {host.name} ended by itself")
        files = len(os.listdir(f"/proc/{daemon.pid}/fd"))
        status = Path(f"/proc/{daemon.pid}/status").read_text()
        memory = int(status.partition("VmRSS:")[2].split()[0]) // 1024
        packs = len(list(host.state.rglob("*.pack")))
        for what, number, most in [("open files", files, MOST_FILES), ("MiB of memory", memory, MOST_MEMORY_MIB), ("packs", packs, MOST_PACKS)]:
            self.figures.reach(what, number)
            if number > most:
                raise Broken(f"the daemon of {host.name} has {number} {what}, more than {most}")

    def _count(self) -> None:
        made = self.oracle.made()
        thrown = set(made) - self.oracle.ever_recorded - self.oracle.foreign
        before = self.figures.counts.get("images thrown away and built anew", 0)
        if len(thrown) > before and not self.disturbed:
            raise Broken(f"nothing happened to a build, and {sorted(thrown)} were made and not recorded")
        self.figures.counts["images thrown away and built anew"] = len(thrown)
        self.figures.counts["images recorded"] = len(self.oracle.ever_recorded)
        self.figures.counts["things made too late to be told"] = self.oracle.untold

    def _stop_all(self) -> None:
        """Every daemon ends in order, and nothing of them stays."""
        for host in self.hosts:
            if not host.stop_daemon(signal.SIGTERM):
                raise Broken(f"the daemon of {host.name} did not end within 30 s")
            if not wait_for(lambda host=host: not list(host.processes()), 10):
                raise Broken(f"left on {host.name}: {list(host.processes())}")

    def _look_for_panics(self) -> None:
        for host in self.hosts:
            for line in host.said().splitlines():
                if "panicked at" in line:
                    raise Broken(f"{host.name}: {line}")

    def close(self, keep: bool) -> None:
        for host in self.hosts:
            host.power_loss("kept", self.dice)
        self.emulator.stop()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def is_old(packer: Path) -> bool:
    said = subprocess.run([packer, "version"], env={**os.environ, "CHECKPOINT_DISABLE": "1"}, capture_output=True, text=True)
    return " v1.6." in said.stdout


def unsynced_library(folder: Path) -> Path | None:
    """Compiled once a farm; none where there is no compiler, and then nothing counts as safe that is young."""
    library = folder / "unsynced.so"
    if not library.exists():
        source = Path(__file__).resolve().parent / "unsynced.c"
        if shutil.which("cc") is None or subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"]).returncode:
            return None
    return library
