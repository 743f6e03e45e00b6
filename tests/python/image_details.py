"""
Prints what packer_ami_workflow stores as `details` of an image: the image as its library for EC2 reads it.

Usage: image_details.py ENDPOINT REGION AMI_NAME
"""

import dataclasses
import json
import sys

import boto3
from packer_ami_workflow.ec2 import find_ami_by_name


def main() -> None:
    endpoint, region, name = sys.argv[1:]
    ec2 = boto3.client(
        "ec2",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    print(json.dumps(dataclasses.asdict(find_ami_by_name(ec2, name))))


if __name__ == "__main__":
    main()
