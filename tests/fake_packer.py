#!/usr/bin/env -S python3 -IS
"""A Packer that does what a transcript tells it, for the ends that the real one does not come to on demand.

It is started through a link, and the transcript is the file `transcript` beside that link.

A transcript has a section for each command, `[init]`, `[validate]`, `[build]`; one that is left out ends with 0 and says nothing. What
stands before the first section is `version X.Y.Z`. `[build 2]` is for the second run of `build`; a run without a section of its
own takes `[build]`. Each line of a section is one act, and a section that ends without `exit` ends with 0:

    key, group, instance      make such a thing at EC2, as Packer does, and say so; `secretly` behind it says nothing
    run FILE                  a script of the step's folder; if it fails, the build does, in Packer's words
    ungroup, unkey, terminate, unimage
                              remove it again; what EC2 refuses is said as an error, as Packer does
    image [NAME]              make the image of the name that the step's files ask for, or of another; `in REGION` elsewhere
    tag KEY=VALUE             tag it
    volume                    make a volume, as `amazon-ebsvolume` does, and tell it as an artifact
    finished                  the last word of a Packer that comes to its end
    say TEXT, error TEXT      a line for people
    failure TEXT              what ended the build of a source, in Packer's words
    artifact [TEXT]           an artifact line; by default `{region}:{image}`
    raw TEXT                  a line as it stands, with Python's escapes (\\xff)
    flood MEBIBYTES           that much output
    stderr TEXT               a line of standard error
    write FILE TEXT           a file beside the transcript, by which a test knows how far it is
    wait FILE                 until that file is there
    sleep SECONDS             so long nothing is done
    dump FILE                 arguments, environment, folder and what can be read in it, as JSON
    deaf                      SIGTERM is not heard from here on
    on-term                   the acts that follow are for SIGTERM only, in place of those that are left
    hang                      for ever
    killed                    as real Packer's wrapper does when its inner process is killed: it ends with 0 and no word more
    exit CODE, signal N       the end

Words in braces are replaced: {key}, {group}, {instance}, {image}, {name}, {region}, {source}. EC2 is at AWS_ENDPOINT_URL. Nothing here
judges anything, and no signature is made: the emulator asks for none.
"""

import json
import os
import re
import signal
import socket
import sys
import time
import uuid
from urllib.parse import quote_plus, urlsplit


class Refused(Exception):
    """EC2 said no."""


def ec2(action, region, **form):
    """One call of EC2's query API. By hand, for importing an HTTP client takes longer than all the rest."""
    place = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    form = {"Action": action, "Version": "2016-11-15", **form}
    body = "&".join(f"{quote_plus(key)}={quote_plus(str(value))}" for key, value in form.items())
    scope = f"{os.environ.get('AWS_ACCESS_KEY_ID', 'test')}/20260101/{region}/ec2/aws4_request"
    head = (
        f"POST / HTTP/1.0\r\nHost: {place.hostname}\r\nUser-Agent: fake-packer\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
        f"Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0\r\n\r\n"
    )
    with socket.create_connection((place.hostname, place.port)) as connection:
        connection.sendall((head + body).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    status, _, _ = answer.partition("\r\n")
    if " 2" not in status[:14]:
        code = re.search(r"<Code>(.*?)</Code>", answer)
        raise Refused(f"{code.group(1) if code else status}: {action}")
    return answer


def first(text, pattern):
    found = re.search(pattern, text)
    return found.group(1) if found else ""


def run_tags(asked):
    """The tags that the template asks for on the instance, if they stand on one line; a value may be a file of the step's folder."""
    found = []
    for key, text, file in re.findall(r'(\w+) = (?:"([^"]*)"|trimspace\(file\("\$\{path\.root\}/([^"]+)"\)\))', first(asked, r"(?m)^\s*run_tags\s*=\s*\{(.*)\}$")):
        found.append((key, open(file, encoding="utf-8").read().strip() if file else text))
    return found


class Run:
    """One run of a command."""

    def __init__(self, transcript):
        self.beside = os.path.dirname(os.path.abspath(transcript))
        asked = "\n".join(open(name, encoding="utf-8", errors="replace").read() for name in sorted(os.listdir(".")) if name.endswith(".hcl"))
        self.words = {
            "name": first(asked, r'(?m)^\s*image\s*=\s*"([^"]+)"'),
            "source": first(asked, r'source_ami\s*=\s*"(ami-[^"]+)"'),
            "region": os.environ.get("AWS_REGION", "us-east-1"),
        }
        self.target = "amazon-ebs.x"
        self.run_tags = run_tags(asked)

    def line(self, *fields, target=""):
        escaped = (field.replace(",", "%!(PACKER_COMMA)").replace("\n", "\\n").replace("\r", "\\r") for field in fields)
        self.out(f"{int(time.time())},{target},{','.join(escaped)}\n".encode())

    def out(self, data):
        while data:
            data = data[os.write(1, data) :]

    def say(self, text, kind="say"):
        self.line("ui", kind, f"==> {self.target}: {text}")

    def call(self, action, **form):
        return ec2(action, self.words["region"], **form)

    def act(self, verb, rest):
        """One act of a transcript."""
        getattr(self, "do_" + verb.replace("-", "_"))(rest)

    def do_key(self, rest):
        name = f"packer_{uuid.uuid4()}"
        if rest != "secretly":
            self.say(f"Creating temporary keypair: {name}")
        self.call("CreateKeyPair", KeyName=name)
        self.words["key"] = name

    def do_group(self, rest):
        name = f"packer_{uuid.uuid4()}"
        if rest != "secretly":
            self.say(f"Creating temporary security group for this instance: {name}")
        answer = self.call("CreateSecurityGroup", GroupName=name, GroupDescription="Temporary group for Packer")
        self.words["group"], self.group_id = name, first(answer, "<groupId>(.*?)</groupId>")

    def do_instance(self, rest):
        form = {"ImageId": self.words["source"], "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
        if "key" in self.words:
            form["KeyName"] = self.words["key"]
        if "group" in self.words:
            form["SecurityGroupId.1"] = self.group_id
        if self.run_tags:
            form["TagSpecification.1.ResourceType"] = "instance"
        for number, (key, value) in enumerate(self.run_tags, 1):
            form[f"TagSpecification.1.Tag.{number}.Key"], form[f"TagSpecification.1.Tag.{number}.Value"] = key, value
        answer = self.call("RunInstances", **form)
        self.words["instance"] = first(answer, "<instanceId>(.*?)</instanceId>")
        if rest != "secretly":
            self.line("ui", "message", f"    {self.target}: Instance ID: {self.words['instance']}")

    def do_run(self, rest):
        self.say(f"Running local shell script: {rest}")
        code = os.waitstatus_to_exitcode(os.waitpid(os.spawnvp(os.P_NOWAIT, "sh", ["sh", rest]), 0)[1])
        if code:
            text = f"Script exited with non-zero exit status: {code}. Allowed exit codes are: [0]"
            for clean_up in (self.do_terminate, self.do_ungroup, self.do_unkey):
                clean_up("")
            self.do_failure(text)
            self.line("ui", "error", f"Build '{self.target}' errored: {text}")
            os._exit(1)

    def do_terminate(self, _):
        self.say("Terminating the source AWS instance...")
        self.remove("terminating instance", "TerminateInstances", **{"InstanceId.1": self.words["instance"]})

    def do_ungroup(self, _):
        self.say("Deleting temporary security group...")
        self.remove("cleaning up security group", "DeleteSecurityGroup", GroupId=self.group_id)

    def do_unimage(self, _):
        self.say("Deregistering the AMI because the build was cancelled")
        self.remove("deregistering AMI", "DeregisterImage", ImageId=self.words["image"])

    def do_unkey(self, _):
        self.say("Deleting temporary keypair...")
        self.remove("cleaning up keypair", "DeleteKeyPair", KeyName=self.words["key"])

    def remove(self, what, action, **form):
        try:
            self.call(action, **form)
        except Refused as refused:
            self.say(f"Error {what}: {refused}", "error")

    def do_image(self, rest):
        name, _, region = rest.partition("in ") if rest.startswith("in ") else rest.partition(" in ")
        self.words["region"] = region or self.words["region"]
        if "instance" not in self.words or region:
            self.do_instance("secretly")
            made = self.words["instance"]
        else:
            made = None
        self.say(f"Creating AMI {name or self.words['name']} from instance {self.words['instance']}")
        answer = self.call("CreateImage", InstanceId=self.words["instance"], Name=name or self.words["name"])
        self.words["image"] = first(answer, "<imageId>(.*?)</imageId>")
        self.line("ui", "message", f"    {self.target}: AMI: {self.words['image']}")
        if made:
            self.call("TerminateInstances", **{"InstanceId.1": self.words.pop("instance")})

    def do_tag(self, rest):
        key, _, value = rest.partition("=")
        try:
            self.call("CreateTags", **{"ResourceId.1": self.words["image"], "Tag.1.Key": key, "Tag.1.Value": value})
        except Refused as refused:
            self.say(f"Error adding tags to AMI ({self.words['image']}): {refused}", "error")

    def do_volume(self, _):
        answer = self.call("CreateVolume", AvailabilityZone=self.words["region"] + "a", Size=1, VolumeType="gp2")
        self.line("artifact", "0", "id", f"{self.words['region']}:{first(answer, '<volumeId>(.*?)</volumeId>')}", target=self.target)

    def do_finished(self, _):
        self.line("ui", "say", "\n==> Builds finished. The artifacts of successful builds are:")

    def do_say(self, rest):
        self.say(rest)

    def do_error(self, rest):
        self.line("ui", "error", rest)

    def do_failure(self, rest):
        self.line("error", rest, target=self.target)

    def do_artifact(self, rest):
        text = rest or self.fill("{region}:{image}")
        self.line("artifact", "0", "id", text, target=self.target)

    def do_raw(self, rest):
        self.out(rest.encode().decode("unicode_escape").encode("latin-1") + b"\n")

    def do_flood(self, rest):
        line = b"1,,ui,message,    amazon-ebs.x: " + b"x" * 980 + b"\n"
        block = line * (1024 * 1024 // len(line) + 1)
        for _ in range(int(rest)):
            self.out(block)

    def do_stderr(self, rest):
        os.write(2, rest.encode() + b"\n")

    def do_write(self, rest):
        name, _, text = rest.partition(" ")
        with open(os.path.join(self.beside, name + ".new"), "w") as file:
            file.write(text)
        os.rename(file.name, os.path.join(self.beside, name))

    def do_wait(self, rest):
        while not os.path.exists(os.path.join(self.beside, rest)):
            time.sleep(0.02)

    def do_sleep(self, rest):
        time.sleep(float(rest))

    def do_dump(self, rest):
        files = {}
        for folder, _, names in os.walk("."):
            for name in names:
                path = os.path.join(folder, name)
                files[os.path.relpath(path)] = f"{os.stat(path).st_mode & 0o777:o}"
        # As it was given: a Python of pyenv puts variables of its own into what this process sees.
        given = open(f"/proc/{os.getppid()}/environ", encoding="utf-8").read()
        environment = dict(line.split("=", 1) for line in given.split("\0") if "=" in line)
        seen = {"arguments": sys.argv[1:], "environment": environment, "folder": os.getcwd(), "files": files}
        self.do_write(f"{rest} {json.dumps(seen)}")

    def do_deaf(self, _):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def do_hang(self, _):
        while True:
            signal.pause()

    def do_killed(self, _):
        os._exit(0)

    def do_exit(self, rest):
        os._exit(int(rest))

    def do_signal(self, rest):
        signal.signal(int(rest), signal.SIG_DFL) if int(rest) != signal.SIGKILL else None
        os.kill(os.getpid(), int(rest))
        signal.pause()

    def fill(self, text):
        return re.sub(r"\{(\w+)\}", lambda word: self.words.get(word.group(1), word.group(0)), text)

    def play(self, acts):
        for at, act in enumerate(acts):
            verb, _, rest = act.partition(" ")
            if verb == "on-term":
                return
            try:
                self.act(verb, self.fill(rest))
            except Refused as refused:
                text = f"Build '{self.target}' errored: {refused}"
                self.line("error", str(refused), target=self.target)
                self.line("ui", "error", text)
                os._exit(1)
            except Terminated:
                later = [index for index in range(at, len(acts)) if acts[index] == "on-term"]
                if not later:
                    self.line("ui", "error", "Cancelling build after receiving terminated")
                    os._exit(1)
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                return self.play(acts[later[0] + 1 :])


class Terminated(Exception):
    """SIGTERM came."""


def sections(transcript):
    found, name = {"": []}, ""
    for line in open(transcript, encoding="utf-8"):
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            name = line[1:-1]
            found[name] = []
        elif line and not line.startswith("#"):
            found[name].append(line)
    return found


def turn(transcript, command):
    """Which run of the command this is, from 1."""
    count = f"{transcript}.{command}"
    with open(count, "ab") as file:
        file.write(b".")
    return os.path.getsize(count)


def main():
    transcript, command = os.path.join(os.path.dirname(sys.argv[0]), "transcript"), sys.argv[1]
    found = sections(transcript)
    if command == "version":
        version = next((line.split()[1] for line in found[""] if line.startswith("version ")), "1.6.6")
        print(f"Packer v{version}")
        return

    def terminated(*_):
        raise Terminated

    signal.signal(signal.SIGTERM, terminated)
    acts = found.get(f"{command} {turn(transcript, command)}", found.get(command, []))
    Run(transcript).play(acts)


if __name__ == "__main__":
    main()
