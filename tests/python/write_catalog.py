"""
Makes a table and saves records as packer_ami_workflow does, in its own formats.

Usage: write_catalog.py ENDPOINT REGION TABLE < one JSON list of objects with the model's attributes
"""

import datetime
import json
import sys

from pynamodb.constants import PAY_PER_REQUEST_BILLING_MODE

from read_catalog import model


def main() -> None:
    endpoint, region, table = sys.argv[1:]
    catalog = model(endpoint, region, table)
    if not catalog.exists():
        catalog.create_table(billing_mode=PAY_PER_REQUEST_BILLING_MODE, wait=True)
    for image in json.load(sys.stdin):
        image["create_at"] = datetime.datetime.fromisoformat(image["create_at"])
        catalog(**image).save()


if __name__ == "__main__":
    main()
