"""The emulated AWS of a farm: brought up, made unkind by rules, and read as anybody reads EC2 and DynamoDB, by boto3."""

import json
import os
import sqlite3
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from git import BASE

ROOT = Path(__file__).resolve().parent.parent.parent
REGION = "us-east-1"
TABLE = "images"


class Emulator:
    """`tests/aws/emulator.py`, which ends with this process."""

    def __init__(self) -> None:
        self.child = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/aws/emulator.py"), "--base-image", f"base={BASE}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.child.stdout is not None
        self.port = json.loads(self.child.stdout.readline())["port"]
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def ask(self, page: str) -> Any:
        with urllib.request.urlopen(f"{self.endpoint}/_control/{page}", timeout=60) as answer:
            return json.load(answer)

    def tell(self, page: str, value: Any) -> Any:
        request = urllib.request.Request(f"{self.endpoint}/_control/{page}", json.dumps(value).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def client(self, service: str, region: str = REGION) -> Any:
        session = boto3.session.Session(aws_access_key_id="oracle", aws_secret_access_key="oracle", region_name=region)
        return session.client(service, endpoint_url=self.endpoint, config=Config(retries={"max_attempts": 8}, read_timeout=60))

    def stop(self) -> None:
        self.child.kill()
        self.child.wait()


@dataclass
class Tables:
    """What the inventory holds."""

    # Image by workflow id and step id.
    records: dict[tuple[str, str], str] = field(default_factory=dict)
    # (workflow id, step id, build id, place, stage) of the journal.
    events: list[tuple[str, str, str, int, Any]] = field(default_factory=list)
    # The newest attempt by workflow id and step id.
    attempts: dict[tuple[str, str], Any] = field(default_factory=dict)

    def recorded(self) -> dict[str, set[str]]:
        """The images that the journal says were recorded, by the fingerprint of their builds."""
        intents = {build: stage["intent"] for _, _, build, _, stage in self.events if isinstance(stage, dict) and "intent" in stage}
        found: dict[str, set[str]] = {}
        for _, _, build, _, stage in self.events:
            if isinstance(stage, dict) and "recorded" in stage:
                found.setdefault(str(intents[build]["fingerprint"]), set()).add(stage["recorded"]["ami_id"])
        return found

    def open(self) -> list[tuple[str, str]]:
        """Steps whose newest attempt is neither recorded nor failed."""
        return [key for key, attempt in self.attempts.items() if not settled(attempt["progress"])]

    def cancelled(self) -> list[tuple[str, str]]:
        return [key for key, attempt in self.attempts.items() if failure_class(attempt["progress"]) == "cancelled"]


def settled(progress: Any) -> bool:
    return isinstance(progress, dict) and ("recorded" in progress or "failed" in progress)


def failure_class(progress: Any) -> str | None:
    return progress["failed"]["class"] if isinstance(progress, dict) and "failed" in progress else None


def read_dynamodb(client: Any) -> Tables:
    tables = Tables()
    try:
        for item in scan(client, TABLE):
            tables.records[item["workflow_id"]["S"], item["step_id"]["S"]] = item["ami_id"]["S"]
        for item in scan(client, f"{TABLE}_builds"):
            workflow, name = item["workflow_id"]["S"], item["item"]["S"]
            if name.startswith("@step/"):
                tables.attempts[workflow, name.removeprefix("@step/")] = json.loads(item["attempt"]["S"])
            elif not name.startswith("@") and "stage" in item:
                build, _, place = name.partition("#")
                tables.events.append((workflow, item["step_id"]["S"], build, int(place), json.loads(item["stage"]["S"])))
    except client.exceptions.ResourceNotFoundException:
        pass
    return tables


def scan(client: Any, table: str) -> list[Any]:
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return [item for page in pages for item in page["Items"]]


def read_sqlite(path: Path) -> Tables:
    tables = Tables()
    if not path.exists():
        return tables
    # A connection of its own each time: a reader that stays keeps the write-ahead log from being joined.
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    try:
        connection.execute("BEGIN")
        for workflow, step, image in connection.execute("SELECT workflow_id, step_id, ami_id FROM record"):
            tables.records[workflow, step] = image
        for workflow, step, build, place, stage in connection.execute("SELECT workflow_id, step_id, build_id, seq, stage FROM event"):
            tables.events.append((workflow, step, build, place, json.loads(stage)))
        for workflow, step, attempt in connection.execute("SELECT workflow_id, step_id, attempt FROM attempt"):
            tables.attempts[workflow, step] = json.loads(attempt)
    except sqlite3.OperationalError as error:
        # Made, and not yet given its tables.
        if "no such table" not in str(error):
            raise
        return Tables()
    finally:
        connection.close()
    return tables


def credentials(key: str) -> str:
    """A credentials file with this key."""
    return f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret-of-{key}\naws_session_token = token-of-{key}\n"


def environment(configuration: Path) -> dict[str, str]:
    """What a program of a host gets, and nothing else of this process. Its credentials stand in a file of its home."""
    given = {
        "PATH": os.environ["PATH"],
        "AWS_EC2_METADATA_DISABLED": "true",
        "RECONCILER_CONFIG": str(configuration),
        "RECONCILER_LOG_FORMAT": "text",
        "NO_COLOR": "1",
    }
    if "PACKER_PLUGIN_PATH" in os.environ:
        given["PACKER_PLUGIN_PATH"] = os.environ["PACKER_PLUGIN_PATH"]
    return given
