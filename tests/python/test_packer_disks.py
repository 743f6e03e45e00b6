"""Real Packer on the emulated instances: what a step installs is on its image, whichever way the step logs in."""

import json
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from emulated import EMULATOR, name
from machines import OnMachines

PACKER = os.environ.get("RECONCILER_TEST_PACKER", EMULATOR.parent.parent.parent / ".tools/bin/packer")
IS_OLD = " v1.6." in subprocess.run([PACKER, "version"], capture_output=True, text=True, env={**os.environ, "CHECKPOINT_DISABLE": "1"}).stdout


class Builds(OnMachines):
    def source(self, label, source, **more):
        words = {
            "region": "us-east-1", "source_ami": source, "ami_name": name(), "instance_type": "t3.micro", "ssh_username": self.sshd["user"],
            "ssh_port": self.sshd["port"], "skip_region_validation": True, "skip_metadata_api_check": True, **more,
        }
        if IS_OLD:
            words["custom_endpoint_ec2"] = self.aws.endpoint
        return f'source "amazon-ebs" "{label}" {{\n' + "".join(f"  {key} = {json.dumps(value)}\n" for key, value in words.items()) + "}\n"

    def build(self, script, **sources):
        """The images by the labels of their sources, which are built at once by one Packer."""
        text = "".join(self.source(label, *given[:1], **given[1]) for label, given in sources.items())
        labels = json.dumps([f"source.amazon-ebs.{label}" for label in sources])
        text += f"build {{\n  sources = {labels}\n  provisioner \"shell\" {{\n    inline = {json.dumps(script)}\n  }}\n}}\n"
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "a.pkr.hcl").write_text(text)
            own = {"AWS_ACCESS_KEY_ID": "AKIAOWN", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_ENDPOINT_URL": self.aws.endpoint, "HOME": folder}
            env = {**os.environ, **own, "CHECKPOINT_DISABLE": "1", "AWS_MAX_ATTEMPTS": "100", "AWS_POLL_DELAY_SECONDS": "1"}
            command = [PACKER, "build", "-color=false", "-machine-readable", "a.pkr.hcl" if IS_OLD else "."]
            done = subprocess.run(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        made = {re.sub(r"^.*\.", "", target): image for target, image in re.findall(r"(?m)^\d+,([^,]*),artifact,0,id,us-east-1:(ami-\w+)", done.stdout)}
        self.assertEqual(set(made), set(sources), done.stdout)
        return made

    def found(self, image):
        return self.said(self.person.start(image), "cat log")

    def test_a_step_finds_what_the_one_before_installed(self):
        ways = {
            "temporary": {},
            "file": {"ssh_private_key_file": self.sshd["key"]},
            "host": {"ssh_host": "127.0.0.1"},
        }
        script = ["echo \"$PACKER_BUILD_NAME\" >> log", "sleep 1", "echo end >> log"]
        base = self.image()
        first = self.build(script, **{way: (base, more) for way, more in ways.items()})
        # Each by another way than its source, and all on what was there.
        second = self.build(script, file=(first["temporary"], ways["file"]), host=(first["file"], ways["host"]), temporary=(first["host"], ways["temporary"]))
        found = {way: self.found(image).split() for way, image in second.items()}
        before = {"file": "temporary", "host": "file", "temporary": "host"}
        self.assertEqual(found, {way: [before[way], "end", way, "end"] for way in ways})

    def test_a_step_builds_on_what_a_person_did_and_a_failed_one_leaves_no_image(self):
        image = self.made_of(self.person.changed(self.image(), "mkdir bin && printf '#!/bin/sh\\necho by hand\\n' > bin/tool && chmod +x bin/tool"))
        made = self.build(['"$HOME/bin/tool" > log'], one=(image, {}))
        self.assertEqual(self.found(made["one"]), "by hand")
        with self.assertRaises(AssertionError):
            self.build(['"$HOME/bin/tool" > log'], one=(self.image(), {}))


if __name__ == "__main__":
    unittest.main()
