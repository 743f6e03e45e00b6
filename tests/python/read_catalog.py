"""
Reads a table by the three queries of packer_ami_workflow, and prints what they give as one JSON object.

Usage: read_catalog.py ENDPOINT REGION TABLE WORKFLOW_ID STEP_ID
"""

import json
import sys

from packer_ami_workflow.dynamodb import AmiData


def model(endpoint: str, region: str, table: str):
    """The library's own model, bound to a table as its users do it."""
    meta = {"table_name": table, "region": region, "host": endpoint}
    return type("Catalog", (AmiData,), {"Meta": type("Meta", (), meta)})


def as_json(image) -> dict:
    return {
        name: getattr(image, name)
        for name in image.get_attributes()
        if name != "create_at"
    } | {"create_at": image.create_at.isoformat()}


def main() -> None:
    endpoint, region, table, workflow_id, step_id = sys.argv[1:]
    catalog = model(endpoint, region, table)
    one = catalog.get_image(workflow_id, step_id)
    print(
        json.dumps(
            {
                "image": one and as_json(one),
                "by_workflow": [as_json(i) for i in catalog.query_by_workflow(workflow_id)],
                "by_step": [as_json(i) for i in catalog.query_by_step_id(step_id)],
            }
        )
    )


if __name__ == "__main__":
    main()
