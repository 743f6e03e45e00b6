"""
A step as the users of packer_ami_workflow build it, by their `packer_build.py`, at an emulated AWS.

Usage: build_step.py ENDPOINT REGION TABLE STEP_FOLDER PACKER validate|build < what every source needs there, as JSON

Prints one JSON object: what the library knows of the step, and the files that it rendered. The credentials are those of the environment.
"""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import tempfile

from packer_ami_workflow.api import AmiBuilder, StepParam, WorkflowParam
from packer_ami_workflow.vendor.jsonutils import json_loads
from pathlib_mate import Path

from read_catalog import model

LONGEST = 120


class Builder(AmiBuilder):
    """The library's own. Its files are adapted to the emulator and to an old Packer after they are rendered, as the reconciler adapts them."""

    rendered: dict
    needed: dict
    has_old_packer: bool

    def render(self, clean_up=True):
        super().render(clean_up)
        self.rendered = {}
        for path in sorted(self.workspace.dir_root.glob("*hcl")):
            text = self.rendered[path.name] = path.read_text()
            if self.has_old_packer:
                text = re.sub(r"(?ms)^packer \{.*?^\}\n", "", text)
            path.write_text("".join(map(self.at_the_emulator, text.splitlines(keepends=True))))

    def at_the_emulator(self, line):
        if line.split("=")[0].strip() in self.needed:
            return ""
        if line.startswith('source "amazon-'):
            return line + "".join(f"  {key} = {json.dumps(value)}\n" for key, value in self.needed.items())
        return line


def declared(base, file):
    """The library's class with the keys that the users have declared for themselves."""
    own = json_loads(file.read_text()).keys() - {field.name for field in dataclasses.fields(base)}
    return dataclasses.make_dataclass(base.__name__, [(key, object, None) for key in sorted(own)], bases=(base,))


def end_all(*_):
    os.killpg(0, signal.SIGKILL)


def main():
    endpoint, region, table, folder, packer, what = sys.argv[1:]
    # `packer build -debug` asks before each of its steps, and goes on where there is nobody: so there must be no terminal.
    os.setsid()
    signal.signal(signal.SIGALRM, end_all)
    signal.alarm(LONGEST)
    # Packer and the library talk.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    needed = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as home:
        # The library takes Packer from the PATH.
        os.symlink(packer, f"{home}/packer")
        os.environ.update(AWS_ENDPOINT_URL=endpoint, CHECKPOINT_DISABLE="1", HOME=home, AWS_POLL_DELAY_SECONDS="1")
        os.environ["PATH"] = home + os.pathsep + os.environ["PATH"]
        step = Path(folder)
        params = declared(WorkflowParam, step.parent / "workflow_param.json"), declared(StepParam, step / "step_param.json")
        builder = Builder.make(step, model(endpoint, region, table), *params)
        builder.needed = needed
        builder.has_old_packer = " v1.6." in subprocess.run(["packer", "version"], capture_output=True, text=True).stdout
        builder.run_packer_build_workflow(dry_run=what != "build")
        if what == "build":
            builder.tag_ami()
            builder.create_dynamodb_item()
    known = {name: getattr(builder, name) for name in ("source_ami_id", "source_ami_name", "output_ami_name", "rendered")}
    print(json.dumps(known), file=answer, flush=True)


if __name__ == "__main__":
    main()
