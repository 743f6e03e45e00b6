"""Finds base images as the Python library does: prints their ids, newest first, as one JSON list.

Usage: find_root_base.py ENDPOINT REGION NAME OWNER
"""

import json
import sys

import boto3
from packer_ami_workflow.ec2 import find_root_base_ami

endpoint, region, name, owner = sys.argv[1:]
client = boto3.client("ec2", region_name=region, endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="test")
print(json.dumps([image.id for image in find_root_base_ami(client, name, owner)]))
