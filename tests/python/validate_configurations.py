"""Reads a JSON list of YAML texts, and prints for each whether the schema of the configuration takes it: for editors, not for the program.

    validate_configurations.py SCHEMA
"""

import json
import sys

import yaml
from jsonschema import Draft202012Validator


def main():
    with open(sys.argv[1]) as file:
        schema = json.load(file)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    texts = json.load(sys.stdin)
    # A file of comments only is a configuration without keys, to editors and to the program.
    print(json.dumps([[error.json_path for error in validator.iter_errors(yaml.safe_load(text) or {})] for text in texts]))


if __name__ == "__main__":
    main()
