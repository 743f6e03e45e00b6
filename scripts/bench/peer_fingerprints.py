"""The peer of our fingerprints: the same loop in Python, with jinja2 and hashlib. Prints the CPU seconds that a step takes.

`peer_fingerprints.py REPOSITORY STEPS each|once`: `each` compiles every template file, as the Python library does
(`jinja2.Template(text)`); `once` compiles equal texts once.
"""

import functools
import hashlib
import json
import sys
import time
from pathlib import Path

import jinja2


def main(repository, steps, how):
    compiled = functools.cache(jinja2.Template) if how == "once" else jinja2.Template
    root = Path(repository) / "packer_workspaces"
    workflow = json.loads((root / "workflow_param.json").read_text()) | {"aws_region": "us-east-1"}
    begin = time.process_time()
    for number in range(steps):
        step = root / f"s{number:06}"
        params = json.loads((step / "step_param.json").read_text())
        builder = {"source_ami_id": "ami-1", "source_ami_name": "n", "output_ami_name": "o", "workflow_param": workflow, "step_param": params}
        digest = hashlib.sha256()
        for path in sorted(step.rglob("*")):
            if path.is_file():
                content = path.read_bytes()
                if path.parent.name == "templates":
                    content = compiled(content.decode()).render(builder=builder).encode()
                digest.update(path.name.encode())
                digest.update(content)
        digest.hexdigest()
    print((time.process_time() - begin) / steps)


main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
