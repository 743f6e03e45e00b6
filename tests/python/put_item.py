"""Does what `aws dynamodb put-item --item file://…` does, with the item on standard input.

    put_item.py ENDPOINT REGION TABLE
"""

import json
import sys

import boto3


def main():
    endpoint, region, table = sys.argv[1:]
    client = boto3.client("dynamodb", endpoint_url=endpoint, region_name=region, aws_access_key_id="test", aws_secret_access_key="test")
    client.put_item(TableName=table, Item=json.load(sys.stdin))


if __name__ == "__main__":
    main()
