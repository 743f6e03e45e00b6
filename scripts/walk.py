"""A new user's first hours, as a script: `make test` walks it in small, `make soak` whole.

    walk.py [--small]

In an empty home, as an ordinary user where this machine lets root become one, it does what README's *Use it* says and the first things that
somebody does with a new tool: look, build, change, revert, break, mend, fail, try again, and run it as a service by the commands of
deploy/README.md. It shows what the user sees, and ends with exit code 1 where an important line or an exit code is another than the
documents promise. Every command that README names is walked, or the walk fails.
"""

import hashlib
import json
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import demo
from demo import BASE, PYTHON, ROOT, TOOLS, claim, start, start_service, say

BINARY = demo.BINARY
SMALL = "--small" in sys.argv[1:]
PACKER = Path(os.environ.get("RECONCILER_TEST_PACKER", TOOLS / "bin/packer")).resolve()
SCRIPT = "packer_workspaces/s02-mysql/install.sh"
TEMPLATE = "packer_workspaces/s02-mysql/templates/.pkr.hcl"
FOLDER = Path(tempfile.mkdtemp(prefix="walk-", dir="/tmp"))
HOME = FOLDER / "home"
WORK = FOLDER / "images"
WALKED = set()


class Done:
    """What a command came to."""

    def __init__(self, command, code, out, err):
        self.command, self.code, self.out, self.err = command, code, out, err

    def ends(self, code, *words):
        """With this exit code, and these words on the screen."""
        said = self.out + self.err
        missing = [word for word in words if word not in said]
        if self.code != code or missing:
            demo.fail(f"`{self.command}` ended with {self.code}, not {code}; not said: {missing}\n{said}")
        print(f"  (exit code {self.code})", flush=True)
        return self


def ordinary_user():
    """Somebody who is not root and can read this project; none where there is nobody, or where we are not root anyway."""
    if os.geteuid() != 0:
        return None
    try:
        account = pwd.getpwnam("nobody")
    except KeyError:
        return None
    # What belongs to the farm (Python, sshd) is root's as ever.
    look = " && ".join(f"test -x {shlex.quote(str(program))}" for program in (BINARY, PACKER))
    try:
        can = subprocess.run(["sh", "-c", look], user=account.pw_uid, group=account.pw_gid, extra_groups=[], cwd="/")
    except OSError:
        return None
    return account if can.returncode == 0 else None


ACCOUNT = ordinary_user()


def as_user():
    return {"user": ACCOUNT.pw_uid, "group": ACCOUNT.pw_gid, "extra_groups": []} if ACCOUNT else {}


def give(path):
    """To the ordinary user."""
    if ACCOUNT:
        subprocess.run(["chown", "-R", f"{ACCOUNT.pw_uid}:{ACCOUNT.pw_gid}", str(path)], check=True)


def environment(**more):
    env = {name: os.environ[name] for name in ("PATH", "PACKER_PLUGIN_PATH", "LD_LIBRARY_PATH") if name in os.environ}
    env["PATH"] = f"{FOLDER / 'root/usr/local/bin'}:{env['PATH']}"
    env |= {"HOME": str(HOME), "LANG": "C.UTF-8", "USER": "somebody"}
    env |= {"AWS_ACCESS_KEY_ID": "walk", "AWS_SECRET_ACCESS_KEY": "walk-secret-key", "AWS_EC2_METADATA_DISABLED": "true"}
    for who in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{who}_NAME": "Somebody", f"GIT_{who}_EMAIL": "somebody@example.org"}
    return env | more


def run(*command, folder=WORK, **more):
    done = subprocess.run([str(part) for part in command], cwd=folder, env=environment(**more), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, **as_user())
    return Done(" ".join(map(str, command)), done.returncode, done.stdout, done.stderr)


def reconciler(*arguments, **more):
    """Types a command of the program and shows what comes."""
    WALKED.add(next(word for word in arguments if not word.startswith("-")))
    print(f"$ reconciler {' '.join(arguments)}", flush=True)
    done = run("reconciler", *arguments, **more)
    for line in (done.out + done.err).splitlines():
        print(f"  | {line}", flush=True)
    return done


def states(**more):
    done = run("reconciler", "status", "-o", "json", **more)
    if done.code != 0:
        demo.fail(f"status ended with {done.code}: {done.err}")
    return {step["step_id"]: step for step in json.loads(done.out)["workflows"][0]["steps"]}


def git(*arguments, folder=WORK):
    done = run("git", *arguments, folder=folder)
    if done.code != 0:
        demo.fail(f"git {' '.join(arguments)}: {done.err}")
    return done.out.strip()


def commit(message):
    git("add", "-A")
    git("commit", "-q", "-m", message)
    print(f"$ git commit -m '{message}'", flush=True)


def edit(path, change):
    file = WORK / path
    text = file.read_text()
    changed = change(text)
    if changed == text:
        demo.fail(f"nothing to change in {path}")
    file.write_text(changed)
    give(file)


def installed():
    """`make install`, but for the compiler: what is built already goes below a root of its own."""
    say("Installed")
    root = FOLDER / "root"
    subprocess.run(["make", "--no-print-directory", "install-files", f"DESTDIR={root}", f"BINARY={BINARY}"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    FOLDER.chmod(0o755)
    HOME.mkdir()
    WORK.mkdir()
    give(HOME)
    give(WORK)
    run("reconciler", "--version", folder="/").ends(0, "reconciler ")
    helped = run("reconciler", "--help", folder="/").ends(0, "check", "plan", "apply", "-C <DIR>", "Exit codes")
    claim(max(map(len, helped.out.splitlines())) <= 100, "the help fits a terminal")
    print(f"  as {'nobody' if ACCOUNT else pwd.getpwuid(os.geteuid()).pw_name}, with {run(PACKER, 'version', folder='/').out.splitlines()[0]}")


def farm():
    """An emulated AWS and a private sshd: what a real account and a real instance are elsewhere."""
    demo.DEMO = FOLDER / "services"
    demo.DEMO.mkdir()
    demo.supervisors = supervisors
    emulator = start_service("emulator", [PYTHON, ROOT / "tests/aws/emulator.py", "--base-image", f"ubuntu-22.04-server-20261101={BASE}"])
    sshd = start_service("sshd", [ROOT / "tests/aws/sshd.sh", demo.DEMO / "ssh"])
    # The key of Packer's side, for whoever runs Packer.
    key = HOME / "walk_key"
    shutil.copy(sshd["key"], key)
    give(key)
    overrides = {
        "ssh_port": sshd["port"], "ssh_username": sshd["user"], "ssh_private_key_file": str(key),
        "skip_region_validation": True, "skip_metadata_api_check": True,
    }
    endpoint = f"http://127.0.0.1:{emulator['port']}"
    demo.tell(endpoint, "authorized-keys", str(demo.DEMO / "ssh/authorized_keys"))
    if " v1.6." in run(PACKER, "version", folder="/").out:
        overrides["custom_endpoint_ec2"] = endpoint
    return f"aws:\n  endpoint_url: {endpoint}\n  emulator:\n    source_overrides: {json.dumps(overrides)}\npacker:\n  binary: {PACKER}\n  grace: 10s\n"


def supervisors():
    for file in FOLDER.glob("**/builds/*/supervisor.json"):
        known = json.loads(file.read_text())
        if not (file.parent / "exit.json").exists() and known["pid"]:
            yield known["pid"], known["pid_start"], file.parent


def looks_around(emulated):
    say("In an empty folder, then in a repository")
    reconciler("check").ends(1, "is not a git repository")
    git("init", "-q", "-b", "main")
    reconciler("check").ends(1, "no commit")
    shutil.copytree(ROOT / "packer_workspaces", WORK / "packer_workspaces", ignore=shutil.ignore_patterns("__pycache__"))
    if SMALL:
        for step in ("s03-build-deps", "s04-server-data", "s05-built-core"):
            shutil.rmtree(WORK / "packer_workspaces" / step)
        (WORK / "packer_workspaces/reconciler.json").unlink()  # of steps that are not there
    give(WORK)
    commit("A workflow to begin with")
    reconciler("check").ends(0, "sound")
    reconciler("-C", str(WORK), "check", folder="/").ends(0, "sound")
    reconciler("render", "pyenv").ends(0, 'source "amazon-ebs" "pyenv"')
    config = HOME / ".config/reconciler"
    config.mkdir(parents=True)
    (config / "reconciler.yaml").write_text(emulated)
    give(HOME / ".config")
    reconciler("plan").ends(0, "+ pyenv", "to build")
    reconciler("plan", "--exit-code", "pyenv").ends(2)
    reconciler("plan", "pyenvv").ends(1, "there is no step `pyenvv`", "pyenv")
    reconciler("apply", "--dry-run").ends(0, "+ pyenv")
    claim(all(step["ami_id"] is None for step in states().values()), "a dry run builds nothing")


def builds():
    say("The first images")
    reconciler("apply").ends(0)
    reconciler("status").ends(0, "in sync")
    reconciler("status", "--exit-code").ends(0)
    reconciler("apply").ends(0)
    reconciler("logs", "mysql", "--tail", "3").ends(0)
    return {name: step["ami_id"] for name, step in states().items()}


def changes(first):
    say("A change, and back again")
    edit(SCRIPT, lambda text: text + "echo changed\n")
    commit("Change a script")
    reconciler("plan", "--exit-code").ends(2, "install.sh")
    reconciler("diff", "mysql", "--exit-code").ends(2, "+echo changed")
    reconciler("apply", "mysql").ends(0)
    second = states()["mysql"]["ami_id"]
    claim(second != first["mysql"], "the changed step has a new image")
    claim(states()["pyenv"]["ami_id"] == first["pyenv"], "and its parent the old one")
    git("revert", "--no-edit", "HEAD")
    print("$ git revert HEAD", flush=True)
    reconciler("plan").ends(0, "mysql")
    reconciler("apply").ends(0)
    claim(states()["mysql"]["ami_id"] == first["mysql"], "a revert takes the earlier image over, without a build")
    reconciler("history", "mysql").ends(0, "recorded")
    reconciler("history", "--failed", "--since", "1d").ends(0)
    reconciler("requests").ends(0)
    reconciler("images", "--all", "--step", "mysql").ends(0, "mysql", "ami-")
    reconciler("image", "show", "mysql").ends(0, first["mysql"], "comes from", BASE, "nothing that EC2 knows of")
    reconciler("image", "delete", first["mysql"]).ends(1, "it is the current image of step mysql")
    reconciler("image", "delete", second, "--snapshots", "--yes").ends(0, second, "deleted")
    reconciler("image", "delete", second, "--yes").ends(0, "gone already")
    reconciler("base", "find").ends(1, "names its base image by id", "--name 'ubuntu-22.04-server-*'")
    reconciler("base", "find", "--name", "ubuntu-22.04-server-*", "--owner", "self").ends(0, BASE, "the base of this workflow")
    reconciler("base", "find", "--name", "ubuntu-22.04-server-*", "--owner", "self", "--write").ends(0, "already")


def breaks():
    say("A broken template")
    edit(TEMPLATE, lambda text: text.replace("builder.step_param.step_id", "builder.step_param.step_idd", 1))
    commit("Mistype a name")
    reconciler("check").ends(1, TEMPLATE + ":", "step_idd")
    reconciler("plan").ends(1, "mysql", "step_idd")
    reconciler("apply").ends(1)
    reconciler("status").ends(0, "mysql")
    claim(states()["mysql"]["state"] == "broken", "the step is broken")
    claim(states()["pyenv"]["state"] == "in-sync", "and no other")
    git("revert", "--no-edit", "HEAD")
    print("$ git revert HEAD", flush=True)
    reconciler("check").ends(0, "sound")


def installs_packer():
    """From a folder, as a host without a network does; the vendor is somebody with a key of this walk's own."""
    say("Packer, from a folder")
    reconciler("packer", "doctor")
    vendor = FOLDER / "vendor"
    home = vendor / "home"
    home.mkdir(parents=True, mode=0o700)
    gpg = ["gpg", "--batch", "--quiet", "--homedir", home]
    subprocess.run([*gpg, "--passphrase", "", "--quick-generate-key", "vendor@example.org", "ed25519", "sign", "never"], check=True, stderr=subprocess.DEVNULL)
    try:
        (vendor / "keys.asc").write_bytes(subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True).stdout)
        processor = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
        release = vendor / f"packer_1.11.2_linux_{processor}.zip"
        with zipfile.ZipFile(release, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("packer", "#!/bin/sh\necho 'Packer v1.11.2'\n")
        sums = vendor / "packer_1.11.2_SHA256SUMS"
        sums.write_text(f"{hashlib.sha256(release.read_bytes()).hexdigest()}  {release.name}\n")
        subprocess.run([*gpg, "--detach-sign", "--output", f"{sums}.sig", sums], check=True)
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
    shutil.rmtree(home)
    give(vendor)
    to = HOME / "packers"
    install = ("packer", "install", "--from", str(vendor), "--to", str(to))
    reconciler(*install).ends(1, "a key that is not allowed")
    claim(not to.exists(), "nothing is installed that somebody else has signed")
    reconciler(*install, RECONCILER_PACKER__RELEASE_KEYS=str(vendor / "keys.asc")).ends(0, "Packer 1.11.2 is at")
    said = run(to / "packer", "version", folder="/").ends(0, "v1.11.2")
    claim(said.code == 0, "what was signed runs")


def fails():
    say("A script that fails")
    edit(SCRIPT, lambda text: text + "echo it goes wrong here >&2\nexit 7\n")
    commit("Fail")
    reconciler("apply").ends(1, "mysql")
    claim(states()["mysql"]["state"] == "quarantined", "the step is quarantined: the same would fail again")
    reconciler("logs", "mysql").ends(0, "it goes wrong here")
    reconciler("history", "--failed").ends(0, "mysql")
    reconciler("retry", "mysql").ends(0)
    reconciler("apply").ends(1)
    git("revert", "--no-edit", "HEAD")
    print("$ git revert HEAD", flush=True)
    reconciler("apply").ends(0)
    reconciler("status", "--exit-code").ends(0, "in sync")


def leaves_git():
    say("A step that leaves git")
    known = states()
    parents = {step["parent"] for step in known.values()}
    step, image = [(name, seen["ami_id"]) for name, seen in known.items() if seen["ami_id"] and name not in parents][-1]
    params = (WORK / "packer_workspaces").glob("*/step_param.json")
    folder = next(file.parent for file in params if f'"step_id": "{step}"' in file.read_text())
    reconciler("forget", step).ends(1, f"{step} is in git")
    git("rm", "-rq", str(folder))
    commit(f"Do without {step}")
    reconciler("status").ends(0, "orphaned", f"reconciler forget {step}")
    reconciler("forget", step, "--why", "nobody asked for it").ends(0, f"its image {image} stays")
    claim(step not in states(), "its record is gone")
    reconciler("history", step).ends(0, f"forgotten  {image}")
    git("revert", "--no-edit", "HEAD")
    print("$ git revert HEAD", flush=True)
    reconciler("apply").ends(0)
    claim(states()[step]["ami_id"] == image, "the step comes back, and its image with it")


def the_rest():
    say("What there is nothing to do for just now")
    reconciler("cancel", "mysql").ends(1)
    reconciler("adopt", "--dry-run").ends(0, "0 would be adopted")
    reconciler("adopt").ends(0, "0 adopted")
    reconciler("adopt", "pyenv", "--image", "ami-0cccccccccccccccc").ends(1, "this account has no image ami-0cccccccccccccccc")
    reconciler("adopt", "--from", "yesterday").ends(1, "family")
    reconciler("allow-rewrite", "HEAD").ends(1)
    reconciler("run", "--once").ends(0)


def guide():
    """The commands of deploy/README.md, those of root and those of anybody."""
    text = (ROOT / "deploy/README.md").read_text()
    block = text.split("```")[1]
    return [re.split(r"\s{3,}#", line[2:])[0].strip() for line in block.strip().splitlines()]


def serves(emulated):
    """As deploy/README.md says, below a root of its own: paths stand below it, and what only systemd and root can do is done by hand."""
    say("As a service, by the commands of deploy/README.md")
    root = FOLDER / "root"
    for command in guide():
        print(f"# {command}", flush=True)
        first = command.split()[0]
        if first in ("useradd", "systemctl", "make"):
            continue
        command = re.sub(r"(?<=\s)/(srv|etc|var)/", rf"{root}/\1/", command)
        command = re.sub(r"^runuser -u reconciler -- ", "", command)
        command = re.sub(r"-[og] reconciler ", "", command)
        done = subprocess.run(["bash", "-c", command], cwd=ROOT, env=environment(), capture_output=True, text=True)
        if done.returncode != 0:
            demo.fail(f"{command}: {done.stderr}")
    state = root / "var/lib/reconciler"
    state.mkdir(parents=True, mode=0o700)
    config = root / "etc/reconciler/reconciler.yaml"
    # The emulator, and the places below the root, are this walk's; the rest is as it was installed.
    config.write_text(re.sub(r"(?<=: )/(srv|var)/", rf"{root}/\1/", config.read_text()) + emulated)
    config.chmod(0o644)
    for place in (state, root / "srv/git"):
        give(place)
    unit = (root / "usr/local/lib/systemd/system/reconciler.service").read_text()
    key = lambda name: re.search(rf"^{name}=(.*)$", unit, re.M).group(1)
    claim(key("StateDirectory") == "reconciler", "the unit's state directory is the one that the configuration names")
    command = [f"{root}{word}" if word.startswith("/") else word for word in key("ExecStart").split()]
    WALKED.add(command[1])
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(FOLDER / "notify"))
    (FOLDER / "notify").chmod(0o666)
    told.settimeout(60)
    service = {"STATE_DIRECTORY": str(state), "NOTIFY_SOCKET": str(FOLDER / "notify"), "RECONCILER_CONFIG": str(config), "HOME": str(state)}
    print(f"# {' '.join(command)}", flush=True)
    daemon = start("daemon", command, env=environment(**service), cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **as_user())
    while b"READY=1" not in told.recv(4096):
        pass
    claim(daemon.poll() is None, "it is ready, and waits for the first push")
    git("push", "-q", str(root / "srv/git/images.git"), "HEAD:main")
    print("$ git push", flush=True)
    shell = {"RECONCILER_CONFIG": str(config)}
    end = time.monotonic() + 120
    while not (all(step["state"] == "in-sync" for step in states(**shell).values())):
        if daemon.poll() is not None or time.monotonic() > end:
            demo.fail(f"the service has built nothing: {states(**shell)}")
        time.sleep(0.5)
    claim(True, "it has built what was pushed, and a shell with the same configuration sees that")
    daemon.send_signal(signal.SIGTERM)
    claim(daemon.wait(30) == 0, "it has ended in order")
    config.write_text(re.sub(r"(?ms)^repositories:.*?(?=^\S)", "", config.read_text()))
    refused = subprocess.run(command, cwd="/", env=environment(**service), capture_output=True, text=True, timeout=60, **as_user())
    print(f"  | {refused.stderr.strip()}", flush=True)
    claim(refused.returncode == int(key("RestartPreventExitStatus")), "without a repository it says what to write, and systemd does not start it again")
    claim("repositories:" in refused.stderr, "with the key to write")


def everything_was_walked():
    block = (ROOT / "README.md").read_text().split("## Use it")[1].split("```")[1]
    named = set(re.findall(r"^\$ reconciler ([a-z-]+)", block, re.M))
    missing = named - WALKED
    claim(named and not missing, f"README's {len(named)} commands were all walked{f', but for {missing}' if missing else ''}")


def plays_with_the_demo():
    say("make demo KEEP=1")
    kept = subprocess.Popen([sys.executable, ROOT / "scripts/demo.py"], env=os.environ | {"KEEP": "1"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True)
    demo.STARTED.append(kept)
    for line in kept.stdout:
        if "stays up until Ctrl-C" in line:
            break
    played = subprocess.run(["bash", "-c", f"source {ROOT}/.demo/env && cd {ROOT}/.demo/work && reconciler status && reconciler history mysql"], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)
    claim(played.returncode == 0 and "in sync" in played.stdout, "the farm that is left up can be played with")
    kept.send_signal(signal.SIGINT)
    rest = kept.stdout.read()
    claim(kept.wait(60) == 0 and "everything was as claimed" in rest, "and ends with Ctrl-C")


def main():
    begin = time.monotonic()
    installed()
    emulated = farm()
    looks_around(emulated)
    changes(builds())
    breaks()
    installs_packer()
    fails()
    leaves_git()
    the_rest()
    serves(emulated)
    everything_was_walked()
    if not SMALL:
        plays_with_the_demo()
    print(f"\nfigures: walk: {len(WALKED)} commands, everything as the documents say, in {time.monotonic() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, demo.interrupt)
    signal.signal(signal.SIGINT, demo.interrupt)
    try:
        main()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        demo.stop_all()
        shutil.rmtree(FOLDER, ignore_errors=True)
