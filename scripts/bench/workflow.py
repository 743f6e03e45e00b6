"""Generates what is measured: chains of five steps, seven files a step, as a work tree for ninja and a packed repository for us."""

import json
import shutil
import subprocess

FILES = ["data.txt", "install.sh", "setup_pyenv.py", "step_param.json", "templates/.pkr.hcl", "templates/.pkrvars.hcl", "templates/.variables.pkr.hcl"]
CHAIN = 5

WORKFLOW = {
    "workflow_id": "bench-2026-01-01-00-00-00", "region_name": "us-east-1", "is_default_vpc": "true",
    "root_base_ami_id": "ami-0123456789abcdef0", "root_base_ami_name": "ubuntu-22.04", "aws_tags": {"project": "bench"},
    "instance_type": "t3.medium", "ssh_username": "ubuntu", "ec2_iam_role_name": "",
}

# Builds in half a second on the emulator: no instance is logged into.
WITHOUT_PROVISIONERS = {
    "templates/.pkr.hcl": """source "amazon-ebs" "step" {
  region        = "{{ builder.workflow_param.aws_region }}"
  source_ami    = "{{ builder.source_ami_id }}"
  ami_name      = var.output_ami_name
  instance_type = "t3.micro"
  communicator  = "none"
}
build {
  sources = ["source.amazon-ebs.step"]
}
""",
    "templates/.variables.pkr.hcl": 'variable "output_ami_name" {\n  type = string\n}\n',
    "templates/.pkrvars.hcl": 'output_ami_name = "{{ builder.output_ami_name }}"\n',
}


def real_templates(project):
    """Those of the project's own first step, with all that a real one has."""
    folder = project / "packer_workspaces/s01-pyenv"
    texts = {name: (folder / name).read_text() for name in WITHOUT_PROVISIONERS}
    return {name: text.replace("builder.step_param.python_version", '"3"') for name, text in texts.items()}


def files(number, templates):
    """The seven files of a step."""
    parent = "null" if number % CHAIN == 0 else f'"step-{number - 1:06}"'
    return templates | {
        "step_param.json": f'{{"step_id": "step-{number:06}", "previous_step_id": {parent}}}\n',
        "setup_pyenv.py": f"print({number})\n",
        "install.sh": f"echo {number}\n",
        "data.txt": f"{number}\n" * 20,
    }


def generate(folder, size, templates, env):
    """Writes the work tree, the repository and `build.ninja`."""
    shutil.rmtree(folder, ignore_errors=True)
    root = folder / "packer_workspaces"
    root.mkdir(parents=True)
    parameters = json.dumps(WORKFLOW)
    (root / "workflow_param.json").write_text(parameters)
    git(["init", "-q", "-b", "main"], folder, env)
    # One pack at once: a million loose objects would take longer than everything that is measured.
    fast = subprocess.Popen(["git", "fast-import", "--quiet"], cwd=folder, env=env, stdin=subprocess.PIPE, text=True)
    say = fast.stdin.write
    say("commit refs/heads/main\ncommitter b <b@example.org> 1767225600 +0000\ndata 9\ngenerated\n")
    say(f"M 100644 inline packer_workspaces/workflow_param.json\ndata {len(parameters)}\n{parameters}\n")
    ninja = ["rule step", "  command = touch $out"]
    for number in range(size):
        name = f"packer_workspaces/s{number:06}"
        (folder / name / "templates").mkdir(parents=True)
        for path, text in files(number, templates).items():
            (folder / name / path).write_text(text)
            say(f"M 100644 inline {name}/{path}\ndata {len(text.encode())}\n{text}\n")
        parent = "" if number % CHAIN == 0 else f" out/{number - 1:06}"
        ninja.append(f"build out/{number:06}: step {' '.join(f'{name}/{path}' for path in FILES)}{parent}")
    fast.stdin.close()
    if fast.wait():
        raise SystemExit("bench: git fast-import failed")
    git(["repack", "-adfq"], folder, env)
    git(["read-tree", "HEAD"], folder, env)
    (folder / "build.ninja").write_text("\n".join(ninja) + "\n")
    return folder


def git(arguments, folder, env):
    """Runs git."""
    subprocess.run(["git", *arguments], cwd=folder, env=env, check=True)
