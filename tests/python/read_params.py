"""Reads parameter files as Python does: takes a JSON list of texts, gives for each what three readers make of it.

`library` is the Python library's own reader, with both orders of its two kinds of comments, which are a set; `contract` strips comments as
the contract says, outside of strings, and leaves the rest to Python's `json`.
"""

import json
import re
import sys

from packer_ami_workflow.vendor.jsonutils import strip_comments

# A string, or a comment; a string that is not closed goes to the end.
TOKEN = re.compile(r'("(?:[^"\\]|\\.)*(?:"|$))|(?:#|//)[^\n]*', re.DOTALL)


def pairs(found):
    made = dict(found)
    if len(made) != len(found):
        made["twice"] = True
        raise LookupError("twice")
    return made


def refuse_constant(name):
    raise LookupError(name)


def read(text):
    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=refuse_constant)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
        if "Infinity" in json.dumps(value):
            return {"stricter": "infinite"}  # a number such as 1e999, which only this script cannot hand on
        return {"ok": value}
    except LookupError as error:
        return {"stricter": str(error)}
    except UnicodeEncodeError:
        return {"stricter": "surrogate"}
    except (ValueError, RecursionError) as error:
        return {"error": str(error)}


def answers(text):
    # As `Path.read_text` and then `str.splitlines` take line ends.
    lines = "\n".join(text.replace("\r\n", "\n").replace("\r", "\n").splitlines())
    contract = TOKEN.sub(lambda match: match.group(1) or "", lines)
    library = [strip_comments(text.replace("\r\n", "\n").replace("\r", "\n"), order) for order in (("#", "//"), ("//", "#"))]
    return {"contract": read(contract), "library": [read(one) for one in library]}


print(json.dumps([answers(text) for text in json.load(sys.stdin)]))
