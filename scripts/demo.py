"""A small build farm on this machine that tells its story: `make demo`.

Starts an emulated AWS and a private sshd, follows a bare repository with the daemon, and pushes to it. Every claim that it prints was
looked up first; one that does not hold ends it with exit code 1. All it writes is below .demo/ of the project.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
DEMO = ROOT / ".demo"
BINARY = Path(os.environ.get("RECONCILER_BINARY", ROOT / "target/debug/reconciler"))
PYTHON = TOOLS / "venv/bin/python"
BASE = "ami-0123456789abcdef0"
STEPS = ["pyenv", "mysql", "build_deps", "server_data", "built_core"]
STARTED = []
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def say(text):
    print(f"\n\033[1m{text}\033[0m" if COLOUR else f"\n{text}", flush=True)


def fail(text):
    print(f"demo: FAILED: {text}", file=sys.stderr, flush=True)
    for log in ("daemon.err", "emulator.err", "sshd.err"):
        path = DEMO / log
        if path.exists() and path.read_text().strip():
            print(f"---- the end of {path}", *path.read_text().splitlines()[-25:], sep="\n", file=sys.stderr)
    sys.exit(1)


def claim(truth, text):
    if not truth:
        fail(text)
    print(f"  \033[32m✓\033[0m {text}" if COLOUR else f"  ✓ {text}", flush=True)


def start(name, command, **more):
    """A child that ends with this script: its standard input is a pipe that closes with us, or it gets SIGTERM."""
    errors = open(DEMO / f"{name}.err", "a")
    with Undisturbed():
        child = subprocess.Popen([str(part) for part in command], stderr=errors, start_new_session=True, **more)
        STARTED.append(child)
    return child


class Undisturbed:
    """No interrupt comes between the start of a child and the note of it."""

    waiting, pending = False, None

    def __enter__(self):
        Undisturbed.waiting = True

    def __exit__(self, *_):
        Undisturbed.waiting = False
        if Undisturbed.pending:
            interrupt(Undisturbed.pending, None)


def interrupt(number, _):
    if Undisturbed.waiting:
        Undisturbed.pending = number
    elif number == signal.SIGTERM:
        sys.exit(143)
    else:
        raise KeyboardInterrupt


def start_service(name, command):
    child = start(name, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    line = child.stdout.readline()
    if not line:
        fail(f"{name} did not start")
    return json.loads(line)


def stop_all():
    """Ends the daemons, then the builds (which outlive a daemon by design), then what they talk to; and looks that all have ended."""
    known = ours()
    services, daemons = STARTED[:2], STARTED[2:]
    stop(daemons)
    known |= ours()
    for pid, beginning, folder in supervisors():
        (folder / "cancel").touch()
        send(pid, beginning, signal.SIGTERM)
    gone({(pid, beginning) for pid, beginning, _ in supervisors()}, 15)
    known |= ours()
    stop(services)
    if not gone(known, 3):
        for pid, beginning in known:
            send(pid, beginning, signal.SIGKILL)
        gone(known, 3)


def stop(children):
    for child in children:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
    for child in children:
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def supervisors():
    """Those of builds that are not over: process id, start time, folder of the build."""
    for file in (DEMO / "state/builds").glob("*/supervisor.json"):
        known = json.loads(file.read_text())
        if not (file.parent / "exit.json").exists() and known["pid"]:
            yield known["pid"], known["pid_start"], file.parent


def processes():
    """Every process that has not ended: parent, session and start time by process id."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] not in "ZX":
            found[int(stat.parent.name)] = int(fields[1]), int(fields[3]), int(fields[19])
    return found


def ours():
    """The processes that this script or one of its daemons started, and theirs: a process id is used again, with its start time it is not."""
    running = processes()
    mine = {child.pid for child in STARTED} | {pid for pid, _, _ in supervisors()}
    while True:
        more = {pid for pid, (parent, session, _) in running.items() if parent in mine or session in mine} - mine
        if not more:
            return {(pid, running[pid][2]) for pid in mine if pid in running}
        mine |= more


def alive(pid, beginning):
    return processes().get(pid, (0, 0, None))[2] == beginning


def send(pid, beginning, number):
    if alive(pid, beginning):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def gone(known, seconds):
    """Waits until none of them runs."""
    end = time.monotonic() + seconds
    while any(alive(*one) for one in known):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def environment():
    env = {key: value for key, value in os.environ.items() if not key.startswith(("RECONCILER_", "AWS_", "PACKER_", "GIT_"))}
    for name in ("PACKER_PLUGIN_PATH",):
        if name in os.environ:
            env[name] = os.environ[name]
    home = DEMO / "home"
    home.mkdir(exist_ok=True)
    env.update(
        HOME=str(home),
        AWS_ACCESS_KEY_ID="demo",
        AWS_SECRET_ACCESS_KEY="demo-secret-key",
        AWS_EC2_METADATA_DISABLED="true",
        RECONCILER_CONFIG=str(DEMO / "reconciler.yaml"),
        GIT_CONFIG_GLOBAL="/dev/null",
        GIT_CONFIG_NOSYSTEM="1",
        GIT_AUTHOR_NAME="Demo",
        GIT_AUTHOR_EMAIL="demo@example.org",
        GIT_COMMITTER_NAME="Demo",
        GIT_COMMITTER_EMAIL="demo@example.org",
    )
    return env


def run(*command, cwd=None, show=False, check=True):
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if show:
        print(done.stdout, end="", flush=True)
    if check and done.returncode not in (0, 2):
        fail(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def reconciler(*arguments, **more):
    if more.get("show"):
        print(f"$ reconciler {' '.join(arguments)}", flush=True)
    return run(BINARY, *arguments, **more)


def status():
    answer = json.loads(reconciler("status", "--output", "json").stdout)
    return {step["step_id"]: step for step in answer["workflows"][0]["steps"]}


def wait_until(what, test, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        steps = status()
        if test(steps):
            return steps
        if any(step["state"] in ("quarantined", "broken", "backing-off") for step in steps.values()):
            fail(f"waiting until {what}: {[(step['step_id'], step['state'], step['reason']) for step in steps.values()]}")
        time.sleep(0.3)
    fail(f"not within {seconds} s: {what}")


def in_sync_at(revision):
    return lambda steps: all(step["state"] == "in-sync" for step in steps.values()) and set(steps) == set(STEPS)


def commit_and_push(work, message):
    run("git", "add", "-A", cwd=work)
    run("git", "commit", "-q", "-m", message, cwd=work)
    revision = run("git", "rev-parse", "HEAD", cwd=work).stdout.strip()
    return revision


def push(work):
    run("git", "push", "-q", "origin", "HEAD:main", cwd=work)


def write_config(emulator, sshd, packer):
    overrides = {
        "ssh_port": sshd["port"],
        "ssh_username": sshd["user"],
        "skip_region_validation": True,
        "skip_metadata_api_check": True,
    }
    old = " v1.6." in run(packer, "version").stdout
    endpoint = f"http://127.0.0.1:{emulator['port']}"
    if old:
        overrides["custom_endpoint_ec2"] = endpoint
    (DEMO / "reconciler.yaml").write_text(
        f"""state_dir: {DEMO}/state
repositories:
  - name: demo
    path: {DEMO}/demo.git
    reference: main
inventory:
  table: game_images
aws:
  endpoint_url: {endpoint}
  emulator:
    source_overrides: {json.dumps(overrides)}
packer:
  binary: {packer}
  grace: 10s
"""
    )
    return endpoint


def start_daemon():
    return start("daemon", [BINARY, "run"], env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def resources(endpoint):
    from urllib.request import urlopen

    return json.load(urlopen(f"{endpoint}/_control/resources"))


def tell(endpoint, page, value):
    """Tells the emulator something."""
    from urllib.request import urlopen

    urlopen(f"{endpoint}/_control/{page}", data=json.dumps(value).encode()).close()


def person(endpoint, sshd):
    """Somebody who starts instances by hand, changes them over SSH and stops them."""
    sys.path.insert(0, str(ROOT / "tests/aws"))
    from person import Person

    return Person(endpoint, sshd["port"])


def nothing_left(endpoint):
    """What a build left is looked after when its image is recorded already: a moment later."""
    for _ in range(50):
        left = resources(endpoint)
        if not left["key_pairs"] and not left["security_groups"] and all(one["state"] == "terminated" for one in left["instances"]):
            return True
        time.sleep(0.3)
    return False


def stay(endpoint, work):
    """The farm stays up to play with, until Ctrl-C; then everything ends as ever."""
    kept = environment()
    kept["PATH"] = f"{BINARY.parent}:{kept['PATH']}"
    ours = ("HOME", "PATH", "RECONCILER_", "AWS_", "GIT_", "PACKER_")
    others = [name for name in os.environ if name.startswith(ours) and name not in kept]
    lines = [f"unset {name}" for name in others] + [f"export {name}={shlex.quote(value)}" for name, value in kept.items() if name.startswith(ours)]
    (DEMO / "env").write_text("\n".join(["# The environment of the demo's farm: source it in a shell of its own.", *lines, ""]))
    say("The farm stays up until Ctrl-C. In another terminal:")
    print(f"""
  bash                                     # a shell of its own, for its environment changes
  source {DEMO / "env"}
  cd {work}

  reconciler status --watch
  echo 'echo hello' >> packer_workspaces/s02-mysql/install.sh && git commit -qam "Say hello" && git push -q origin HEAD:main
  reconciler logs mysql --follow
  reconciler history
  git revert --no-edit HEAD && git push -q origin HEAD:main

  The emulated AWS is at {endpoint}; the daemon's log is {DEMO / "daemon.err"}.
""", flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print(flush=True)


def main():
    begin = time.monotonic()
    shutil.rmtree(DEMO, ignore_errors=True)
    DEMO.mkdir()
    packer = Path(os.environ.get("RECONCILER_TEST_PACKER", TOOLS / "bin/packer")).resolve()

    say("A build farm comes up: an emulated AWS, a private sshd, a bare git repository")
    emulator = start_service("emulator", [PYTHON, ROOT / "tests/aws/emulator.py", "--base-image", f"ubuntu-22.04-server-20261101={BASE}"])
    sshd = start_service("sshd", [ROOT / "tests/aws/sshd.sh", DEMO / "ssh"])
    endpoint = write_config(emulator, sshd, packer)
    tell(endpoint, "authorized-keys", str(DEMO / "ssh/authorized_keys"))
    work = DEMO / "work"
    run("git", "init", "-q", "--bare", "-b", "main", DEMO / "demo.git")
    run("git", "clone", "-q", DEMO / "demo.git", work)
    shutil.copytree(ROOT / "packer_workspaces", work / "packer_workspaces", ignore=shutil.ignore_patterns("__pycache__"))
    first = commit_and_push(work, "Five steps")
    print(f"  {run(packer, 'version').stdout.splitlines()[0]}; AWS at {endpoint}; sshd at port {sshd['port']}")

    say("First push: five images, four deep, with real Packer")
    push(work)
    reconciler("check", show=True)
    reconciler("plan", show=True)
    daemon = start_daemon()
    before = wait_until("five images are recorded", in_sync_at(first))
    reconciler("status", show=True)
    images = {name: step["ami_id"] for name, step in before.items()}
    claim(len(set(images.values())) == 5, "five steps, five images")
    claim(nothing_left(endpoint), "no instance, key pair or security group is left")
    somebody = person(endpoint, sshd)
    look = 'cat .pyenv/version && "$HOME/server/bin/server" && ls server_data | wc -l'
    found = somebody.run(somebody.start(images["built_core"]), look).stdout.split("\n")
    somebody.end()
    claim(found[:3] == ["3.12.7", "server (RelWithDebInfo, clang 19, cmake 3.31)", "8"], "on an instance of the last image is what all steps before it installed")

    say("A change to one script in the middle: that step and those after it are rebuilt, in order")
    script = work / "packer_workspaces/s03-build-deps/export_versions.sh"
    script.write_text(script.read_text().replace("CLANG_VERSION=19", "CLANG_VERSION=20"))
    second = commit_and_push(work, "Build with clang 20")
    daemon.send_signal(signal.SIGSTOP)
    push(work)
    reconciler("plan", show=True)
    reconciler("diff", "build_deps", show=True)
    daemon.send_signal(signal.SIGCONT)
    after = wait_until("the change is built", lambda steps: in_sync_at(second)(steps) and steps["built_core"]["ami_id"] != images["built_core"])
    reconciler("status", show=True)
    changed = {name for name in STEPS if after[name]["ami_id"] != images[name]}
    claim(changed == {"build_deps", "server_data", "built_core"}, "exactly build_deps, server_data and built_core have new images")
    times = [after[name]["created_at"] for name in ("build_deps", "server_data", "built_core")]
    claim(times == sorted(times), "in that order")
    old = {image["id"]: image for image in resources(endpoint)["images"]}
    claim(all(image in old and old[image]["state"] == "available" for image in images.values()), "the old images are still there")

    say("A change of a tag and a README: nothing is rebuilt, the tags change")
    params = work / "packer_workspaces/workflow_param.json"
    params.write_text(params.read_text().replace('"env": "demo"', '"env": "production"'))
    readme = work / "packer_workspaces/s02-mysql/README.md"
    readme.write_text("How the database is set up.\n")
    third = commit_and_push(work, "Tag as production")
    daemon.send_signal(signal.SIGSTOP)
    push(work)
    reconciler("plan", show=True)
    daemon.send_signal(signal.SIGCONT)
    current = {name: step["ami_id"] for name, step in after.items()}

    def retagged(steps):
        tags = {image["id"]: image["tags"].get("env") for image in resources(endpoint)["images"]}
        return all(step["state"] == "in-sync" for step in steps.values()) and all(tags[image] == "production" for image in current.values())

    final = wait_until("the tags have changed", retagged)
    claim(all(final[name]["ami_id"] == current[name] for name in STEPS), "no image was rebuilt for a tag")
    reconciler("status", show=True)

    say("A build is under way and its daemon is killed: the next one carries the build to its record")
    script = work / "packer_workspaces/s02-mysql/install.sh"
    script.write_text(script.read_text() + "sleep 6 # as slow as the download of a database\n")
    commit_and_push(work, "Take the time that it takes")
    before = {image["id"] for image in resources(endpoint)["images"]}
    push(work)
    wait_until("the script runs", lambda steps: any("Provisioning with" in (folder / "packer.log").read_text(errors="replace") for _, _, folder in supervisors()))
    daemon.kill()
    daemon.wait()
    running = list(supervisors())
    claim(len(running) == 1 and alive(*running[0][:2]), "the daemon is dead (SIGKILL), and Packer goes on under its supervisor")
    reconciler("status", show=True)
    daemon = start_daemon()
    carried = wait_until("the image is recorded", lambda steps: steps["mysql"]["state"] == "in-sync" and steps["mysql"]["ami_id"] != final["mysql"]["ami_id"])
    made = {image["id"] for image in resources(endpoint)["images"]} - before
    claim(made == {carried["mysql"]["ami_id"]}, "one image was made, and it is the recorded one: nothing was lost, nothing built twice")
    claim(nothing_left(endpoint), "no instance, key pair or security group is left")
    claim(running[0][2].name in reconciler("history", "mysql", show=True).stdout, "the journal tells that it is the build of the dead daemon")
    reconciler("status", show=True)

    say("A step that a person makes: an instance is started from the last image, changed by hand and stopped, and its image is recorded")
    folder = work / "packer_workspaces/s06-licensed"
    folder.mkdir()
    (folder / "step_param.json").write_text(json.dumps({"step_id": "licensed", "previous_step_id": "built_core"}))
    (folder / "README.md").write_text("Log in, and accept the licence: its installer asks a person.\n")
    commit_and_push(work, "Accept the licence by hand")
    push(work)
    waiting = wait_until("it waits for a person", lambda steps: all(steps[name]["state"] == "in-sync" for name in STEPS) and steps.get("licensed", {}).get("state") == "awaiting-manual")
    reconciler("status", "licensed", show=True)
    parent = waiting["built_core"]["ami_id"]
    claim(parent in waiting["licensed"]["reason"] and "reconciler image create --step licensed" in waiting["licensed"]["reason"], "status says what to start from, and the command to run")
    somebody = person(endpoint, sshd)
    instance = somebody.changed(parent, "mkdir licence && echo accepted > licence/state")
    print(f"  a person has started {instance} from {parent}, accepted the licence over SSH, and stopped it", flush=True)
    reconciler("image", "create", "--step", "licensed", "--instance-id", instance, "--why", "its installer asks a person", show=True)
    licensed = status()["licensed"]
    claim(licensed["state"] == "in-sync" and licensed["ami_id"] not in (None, parent), "its image is recorded, beside the running daemon")
    look = somebody.run(somebody.start(licensed["ami_id"]), 'cat licence/state && "$HOME/server/bin/server"').stdout
    claim(look.startswith("accepted\nserver "), "on an instance of it is what the person did, and what the steps before it installed")
    somebody.end()
    reconciler("history", "licensed", show=True)
    reconciler("image", "show", "licensed", show=True)

    if os.environ.get("KEEP", "") not in ("", "0"):
        stay(endpoint, work)

    say("The daemon ends in order")
    daemon.terminate()
    claim(daemon.wait(15) == 0, "it has ended with exit code 0")
    print(f"\ndemo: everything was as claimed, in {time.monotonic() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    try:
        main()
    except KeyboardInterrupt:
        print("\ndemo: interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop_all()
