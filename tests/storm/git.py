"""What git says: a model of the workflows of a repository, the changes that people push, and the repository itself.

Every content of a step bears a serial, which its template puts on the instance that Packer makes the image of. So what an image was built
from can be told from EC2, whatever the program believes.
"""

import copy
import json
import os
import random
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BASE = "ami-0123456789abcdef0"
ROOT = "packer_workspaces"

TEMPLATE = """variable "image" {{ type = string }}
source "amazon-ebs" "x" {{
  region        = "{{{{ builder.workflow_param.aws_region }}}}"
  source_ami    = "{{{{ builder.source_ami_id }}}}"
  ami_name      = var.image
  instance_type = "t3.micro"
  communicator  = "none"
  run_tags      = {{ Name = "Packer Builder", content = {content} }}
{more}}}
build {{
  sources = ["source.amazon-ebs.x"]
  provisioner "shell-local" {{
    inline = ["sh install.sh"]
  }}
}}
"""


@dataclass
class Step:
    """A step at a commit."""

    folder: str
    parent: str | None
    serial: int
    # The serial is a parameter of the template, or a file that Packer reads.
    by_file: bool = False
    # The template asks for tags of its own once the image exists.
    tagged: bool = False
    pause: float = 0.3
    # Exit code of its script.
    exits: int = 0
    # None, or what is wrong with its files: "template" or "parameters".
    broken: str | None = None


@dataclass
class Workflow:
    """A workflow at a commit."""

    name: str
    folder: str
    workflow_id: str
    env: str = "test"
    steps: dict[str, Step] = field(default_factory=dict)
    broken: bool = False

    def content(self, step: str) -> str:
        return f"{self.name}-{step}-{self.steps[step].serial}"

    def buildable(self, step: str) -> bool:
        """Whether nothing of it, or of those before it, is wrong."""
        at: str | None = step
        while at is not None:
            if at not in self.steps or self.steps[at].broken or self.steps[at].exits:
                return False
            at = self.steps[at].parent
        return not self.broken

    def leaves(self) -> list[str]:
        parents = {step.parent for step in self.steps.values()}
        return [name for name in self.steps if name not in parents]


Model = dict[str, Workflow]


class Repository:
    """A bare repository, a clone that people work in, and the model of its followed branch."""

    def __init__(self, folder: Path, region: str, workflows: int, dice: random.Random):
        self.bare, self.work = folder / "origin.git", folder / "work"
        self.region, self.dice, self.serial = region, dice, 0
        self.readme = 0
        self._git("init", "-q", "--bare", "-b", "main", str(self.bare), cwd=folder)
        self._git("clone", "-q", str(self.bare), str(self.work), cwd=folder)
        # The server's housekeeping is a push of its own kind.
        self._git("config", "gc.auto", "0", cwd=self.bare)
        self.model: Model = {f"w{number}": self._workflow(f"w{number}") for number in range(1, workflows + 1)}
        self.history: list[tuple[str, Model]] = []
        self.side: str | None = None
        self.push("the first commit")

    def _workflow(self, name: str) -> Workflow:
        steps = {
            "a": Step("s01-a", None, self.next(), pause=0.2),
            "b": Step("s02-b", "a", self.next(), by_file=True),
            "c": Step("s03-c", None, self.next(), by_file=True, tagged=True),
        }
        return Workflow(name, f"{ROOT}/{name}", f"{name}-1", steps=steps)

    def next(self) -> int:
        self.serial += 1
        return self.serial

    # Pushes

    def push(self, message: str, *, force: bool = False) -> str:
        """Writes the model, commits it and pushes it."""
        self._write()
        self._git("add", "--all")
        self._git("commit", "-q", "--allow-empty", "-m", message)
        commit = self._git("rev-parse", "HEAD")
        self._git("push", "-q", *(["--force"] if force else []), "origin", "HEAD:main")
        self.history.append((commit, copy.deepcopy(self.model)))
        return commit

    def add_workflow(self, name: str) -> None:
        self.model[name] = self._workflow(name)

    def any_step(self) -> tuple[Workflow, str]:
        workflow = self.dice.choice(list(self.model.values()))
        return workflow, self.dice.choice(list(workflow.steps))

    def change(self, workflow: Workflow, step: str) -> None:
        """Other content, sound; whatever was wrong with it is mended."""
        one = workflow.steps[step]
        one.serial, one.exits, one.broken = self.next(), 0, None
        one.pause = self.dice.choice([0.0, 0.2, 0.5, 1.5])

    def mend(self) -> bool:
        """Whether anything was wrong."""
        wrong = [workflow for workflow in self.model.values() if workflow.broken]
        for workflow in wrong:
            workflow.broken = False
        steps = [(workflow, name) for workflow in self.model.values() for name, step in workflow.steps.items() if step.broken or step.exits]
        for workflow, name in steps:
            self.change(workflow, name)
        return bool(wrong or steps)

    def earlier(self) -> None:
        """The content of an earlier commit."""
        _, model = self.dice.choice(self.history)
        self.model = copy.deepcopy(model)

    def rewind(self) -> int:
        """Goes back in the history itself: the next push has to be forced."""
        back = min(len(self.history) - 1, self.dice.randint(1, 4))
        if back > 0:
            commit, model = self.history[-1 - back]
            self._git("reset", "-q", "--hard", commit)
            self.model = copy.deepcopy(model)
            del self.history[-back:]
        return back

    def prune(self) -> None:
        """The server forgets what no branch names."""
        self._git("reflog", "expire", "--expire=now", "--all", cwd=self.bare)
        self._git("gc", "-q", "--prune=now", cwd=self.bare)

    def turn_side_branch(self) -> str:
        """A branch where a folder of branches was, or the other way round."""
        was, self.side = self.side, "side/one" if self.side == "side" else "side"
        if was:
            self._git("push", "-q", "origin", f":refs/heads/{was}")
        self._git("push", "-q", "origin", f"HEAD:refs/heads/{self.side}")
        return self.side

    # Files

    def _write(self) -> None:
        shutil.rmtree(self.work / ROOT, ignore_errors=True)
        for workflow in self.model.values():
            folder = self.work / workflow.folder
            folder.mkdir(parents=True)
            parameters = {
                "workflow_id": workflow.workflow_id,
                "region_name": self.region,
                "is_default_vpc": "true",
                "root_base_ami_id": BASE,
                "root_base_ami_name": "base",
                "aws_tags": {"env": workflow.env},
            }
            text = "{" if workflow.broken else json.dumps(parameters, indent=1)
            (folder / "workflow_param.json").write_text(text)
            (folder / "README.md").write_text(f"read {self.readme} times\n")
            for name, step in workflow.steps.items():
                self._write_step(folder / step.folder, name, step, workflow.content(name))

    def _write_step(self, folder: Path, name: str, step: Step, content: str) -> None:
        (folder / "templates").mkdir(parents=True)
        parameters = {"step_id": name, "previous_step_id": step.parent, "metadata": {"serial": step.serial}}
        if not step.by_file:
            parameters["content"] = content
        (folder / "step_param.json").write_text("{" if step.broken == "parameters" else json.dumps(parameters))
        told = 'trimspace(file("${path.root}/content.txt"))' if step.by_file else '"{{ builder.step_param.content }}"'
        more = '  tags = { made_by = "packer" }\n' if step.tagged else ""
        template = TEMPLATE.format(content=told, more=more)
        if step.broken == "template":
            template += "# {{ nobody_knows_this }}\n"
        (folder / "templates/.pkr.hcl").write_text(template)
        (folder / "templates/.pkrvars.hcl").write_text('image = "{{ builder.output_ami_name }}"\n')
        (folder / "install.sh").write_text(f"sleep {step.pause}\nexit {step.exits}\n")
        (folder / "content.txt").write_text((content if step.by_file else "-") + "\n")

    def _git(self, *arguments: str, cwd: Path | None = None) -> str:
        return git(cwd or self.work, *arguments)


def git_environment() -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "LC_ALL": "C",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.com",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.com",
    }


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, env=git_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"git {' '.join(arguments)}: {done.stderr}")
    return done.stdout.strip()


class GitServer:
    """git's own HTTP backend, for what is below a folder. Ends with this process."""

    def __init__(self, root: Path):
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(b"")

            def do_POST(self) -> None:
                self.answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            def answer(self, body: bytes) -> None:
                path, _, query = self.path.partition("?")
                environment = {
                    **git_environment(),
                    "GIT_PROJECT_ROOT": str(root),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "REQUEST_METHOD": self.command,
                    "PATH_INFO": path,
                    "QUERY_STRING": query,
                    "CONTENT_TYPE": self.headers.get("Content-Type") or "",
                    "CONTENT_LENGTH": str(len(body)),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
                }
                command = ["git", "-c", "safe.directory=*", "http-backend"]
                done = subprocess.run(command, env=environment, input=body, capture_output=True)
                head, _, answer = done.stdout.partition(b"\r\n\r\n")
                fields = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
                try:
                    self.send(fields, answer)
                except BrokenPipeError:
                    # Who asked has been killed.
                    pass

            def send(self, fields: dict[str, str], answer: bytes) -> None:
                self.send_response(int(fields.pop("Status", "200").split()[0]))
                for name, value in fields.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_arguments) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{name}"
