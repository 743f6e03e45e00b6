"""The peer of our `status`: the Python library's own query of the same table. `peer_query.py ENDPOINT TABLE WORKFLOW`"""

import os
import sys

os.environ["AWS_DEFAULT_REGION"] = "us-east-1"

from packer_ami_workflow.api import AmiData  # noqa: E402


class Table(AmiData):
    class Meta:
        table_name = sys.argv[2]
        region = "us-east-1"
        host = sys.argv[1]


found = list(Table.query(sys.argv[3]))
if len(found) != 5:
    sys.exit(f"{len(found)} records, not 5")
