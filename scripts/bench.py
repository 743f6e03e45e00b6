"""The benchmarks of docs/benchmarks.md: `make bench`. Prints medians, and ratios against a peer of the same run.

Workflows are generated: chains of five steps, seven files a step. Everything is below .bench/ of the project.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / ".bench"
TOOLS = ROOT / ".tools"
PROFILE = os.environ.get("PROFILE", "release")
BINARY = ROOT / f"target/{PROFILE}/reconciler"
SEED = ROOT / f"target/{PROFILE}/examples/seed_inventory"
SIZES = [int(size) for size in os.environ.get("SIZES", "100 1000 10000").split()]

WORKFLOW = {
    "workflow_id": "bench-2026-01-01-00-00-00", "region_name": "us-east-1", "is_default_vpc": "true",
    "root_base_ami_id": "ami-0123456789abcdef0", "root_base_ami_name": "ubuntu-22.04", "aws_tags": {"project": "bench"},
}
TEMPLATE = (ROOT / "packer_workspaces/s01-pyenv/templates/.pkr.hcl").read_text().replace("builder.step_param.python_version", '"3"')
VARIABLES = (ROOT / "packer_workspaces/s01-pyenv/templates/.variables.pkr.hcl").read_text()
VALUES = (ROOT / "packer_workspaces/s01-pyenv/templates/.pkrvars.hcl").read_text()
WORKFLOW |= {"instance_type": "t3.medium", "ssh_username": "ubuntu", "ec2_iam_role_name": ""}


def files(number):
    """The seven files of a step."""
    parent = "null" if number % 5 == 0 else f'"step-{number - 1:06}"'
    return {
        "step_param.json": f'{{"step_id": "step-{number:06}", "previous_step_id": {parent}}}\n',
        "templates/.pkr.hcl": TEMPLATE,
        "templates/.variables.pkr.hcl": VARIABLES,
        "templates/.pkrvars.hcl": VALUES,
        "setup_pyenv.py": f"print({number})\n",
        "install.sh": f"echo {number}\n",
        "data.txt": f"{number}\n" * 20,
    }


def environment(state):
    home = BENCH / "home"
    home.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": os.environ["PATH"], "HOME": str(home), "RECONCILER_STATE_DIR": str(state), "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret",
        "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "b", "GIT_AUTHOR_EMAIL": "b@example.org", "GIT_COMMITTER_NAME": "b", "GIT_COMMITTER_EMAIL": "b@example.org",
    }


def generate(size):
    """A work tree (for ninja) and its packed repository."""
    folder = BENCH / f"repo-{size}"
    shutil.rmtree(folder, ignore_errors=True)
    root = folder / "packer_workspaces"
    root.mkdir(parents=True)
    (root / "workflow_param.json").write_text(json.dumps(WORKFLOW))
    ninja = ["rule step", "  command = touch $out"]
    for number in range(size):
        step = root / f"s{number:06}"
        (step / "templates").mkdir(parents=True)
        for name, text in files(number).items():
            (step / name).write_text(text)
        inputs = " ".join(f"packer_workspaces/s{number:06}/{name}" for name in files(number))
        parent = "" if number % 5 == 0 else f" out/{number - 1:06}"
        ninja.append(f"build out/{number:06}: step {inputs}{parent}")
    env = environment(BENCH / "state")
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "generated"], ["repack", "-adq"]):
        subprocess.run(["git", *command], cwd=folder, env=env, check=True)
    (folder / "build.ninja").write_text("\n".join(ninja) + "\n")
    return folder


def timed(command, cwd, env, runs=7):
    """The median of wall seconds after a warm-up, and the peak memory in MB."""
    walls = []
    for run in range(runs + 1):
        begin = time.perf_counter()
        subprocess.run(command, cwd=cwd, env=env, check=True, stdout=subprocess.DEVNULL)
        if run:
            walls.append(time.perf_counter() - begin)
    child = subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.DEVNULL)
    _, _, usage = os.wait4(child.pid, 0)
    return statistics.median(walls), usage.ru_maxrss / 1024


def python_loop(count):
    """The same work in Python with jinja2 and hashlib, seconds a step."""
    code = f"""
import sys, json, hashlib, time, pathlib
import jinja2
root = pathlib.Path(sys.argv[1]) / "packer_workspaces"
workflow = json.loads((root / "workflow_param.json").read_text()); workflow["aws_region"] = "us-east-1"
begin = time.process_time()
for number in range({count}):
    step = root / f"s{{number:06}}"
    params = json.loads((step / "step_param.json").read_text())
    digest = hashlib.sha256()
    builder = dict(source_ami_id="ami-1", source_ami_name="n", output_ami_name="o", workflow_param=workflow, step_param=params)
    for path in sorted(step.rglob("*")):
        if path.is_file():
            text = path.read_bytes()
            if path.parent.name == "templates":
                text = jinja2.Template(text.decode()).render(builder=builder).encode()
            digest.update(path.name.encode()); digest.update(text)
    digest.hexdigest()
print(time.process_time() - begin)
"""
    folder = BENCH / f"repo-{max(SIZES)}"
    done = subprocess.run([TOOLS / "venv/bin/python", "-c", code, folder], check=True, capture_output=True, text=True)
    return float(done.stdout) / count


def plans():
    print(f"{'steps':>8} {'plan':>10} {'ninja':>10} {'ratio':>7} {'memory':>9} {'fingerprints':>13}")
    fresh = {}
    for size in SIZES:
        folder = generate(size)
        state = BENCH / f"state-{size}"
        shutil.rmtree(state, ignore_errors=True)
        env = environment(state)
        fresh[size] = float(subprocess.run([SEED, folder, state], env=env, check=True, capture_output=True, text=True).stdout)
        subprocess.run(["ninja", "--quiet"], cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL)
        said = subprocess.run([BINARY, "plan", "--offline", "--exit-code"], cwd=folder, env=env, capture_output=True, text=True)
        if said.returncode != 0 or f"{size} in sync" not in said.stdout:
            sys.exit(f"not in sync: {said.stdout[-300:]}{said.stderr[-500:]}")
        plan, memory = timed([BINARY, "plan", "--offline"], folder, env)
        ninja, _ = timed(["ninja", "--quiet"], folder, env)
        print(f"{size:>8} {plan * 1e3:>7.1f} ms {ninja * 1e3:>7.1f} ms {plan / ninja:>7.2f} {memory:>6.0f} MB {fresh[size]:>10.3f} s", flush=True)
    size = max(SIZES)
    ours, theirs = fresh[size] / size, python_loop(min(500, size))
    print(f"a fingerprint afresh: {ours * 1e6:.0f} µs, Python {theirs * 1e6:.0f} µs: {theirs / ours:.0f} times faster, on one core")


def emulator():
    child = subprocess.Popen([TOOLS / "venv/bin/python", ROOT / "tests/aws/emulator.py", "--base-image", "ubuntu-22.04=ami-0123456789abcdef0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    return child, f"http://127.0.0.1:{json.loads(child.stdout.readline())['port']}"


def stub_packer(folder):
    """Answers its version, writes when it was started, and fails."""
    path = folder / "packer"
    path.write_text(f'#!/bin/sh\n[ "$1" = version ] && {{ echo "Packer v1.6.6"; exit 0; }}\n[ -e "{folder}/started" ] || date +%s%N > "{folder}/started"\nexit 1\n')
    path.chmod(0o755)
    return path


def daemon(runs=15):
    """From `git push` returning to Packer started, and the idle daemon."""
    aws, endpoint = emulator()
    work = generate(5)
    bare = BENCH / "bare.git"
    shutil.rmtree(bare, ignore_errors=True)
    state = BENCH / "state-daemon"
    shutil.rmtree(state, ignore_errors=True)
    env = environment(state) | {"RECONCILER_AWS__ENDPOINT_URL": endpoint, "RECONCILER_REPOSITORY": str(bare), "RECONCILER_INVENTORY__TABLE": "bench"}
    env["RECONCILER_PACKER__BINARY"] = str(stub_packer(BENCH))
    subprocess.run(["git", "clone", "-q", "--bare", work, bare], env=env, check=True)
    log = open(BENCH / "daemon.log", "w")
    process = subprocess.Popen([BINARY, "run"], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        time.sleep(3)
        waits = []
        for number in range(runs + 1):
            (BENCH / "started").unlink(missing_ok=True)
            (work / "packer_workspaces/s000000/install.sh").write_text(f"echo {number} again\n")
            subprocess.run(["git", "commit", "-qam", "next"], cwd=work, env=env, check=True)
            subprocess.run(["git", "push", "-q", bare, "main"], cwd=work, env=env, check=True)
            pushed = time.time_ns()
            end = time.monotonic() + 10
            while not (BENCH / "started").exists() and time.monotonic() < end:
                time.sleep(0.002)
            time.sleep(0.05)
            if number:
                waits.append((int((BENCH / "started").read_text()) - pushed) / 1e6)
            time.sleep(0.7)
        print(f"from git push to Packer started: median {statistics.median(waits):.0f} ms, slowest {max(waits):.0f} ms, {len(waits)} pushes")
        idle = float(os.environ.get("IDLE", "60"))

        def cpu():
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        before = cpu()
        time.sleep(idle)
        used = cpu() - before
        rss = [line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith("VmRSS")][0].split()[1]
        print(f"idle for {idle:.0f} s: {used:.2f} s of CPU, {int(rss) / 1024:.0f} MB")
        status(env, bare)
    finally:
        process.terminate()
        process.wait()
        aws.stdin.close()
        aws.wait()


def status(env, bare):
    """`status` of five steps as a fresh process, against the Python library's query of the same table."""
    ours, _ = timed([BINARY, "status"], BENCH, env, runs=15)
    code = f"""
import os
os.environ.update(AWS_ACCESS_KEY_ID="bench", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="us-east-1")
from packer_ami_workflow.api import AmiData
class Table(AmiData):
    class Meta:
        table_name = "bench"
        region = "us-east-1"
        host = "{env['RECONCILER_AWS__ENDPOINT_URL']}"
list(Table.query("{WORKFLOW['workflow_id']}"))
"""
    theirs, _ = timed([str(TOOLS / "venv/bin/python"), "-c", code], BENCH, env, runs=5)
    print(f"status of five steps: {ours * 1e3:.0f} ms; the Python library's query: {theirs * 1e3:.0f} ms: {theirs / ours:.0f} times faster")


def main():
    BENCH.mkdir(exist_ok=True)
    plans()
    daemon()


if __name__ == "__main__":
    main()
