"""Answers as AWS gives them: EC2 has a form of its own for errors, other services that speak XML share one, and the rest speak JSON.

An answer is (HTTP status, content type, body).
"""

import json
from xml.sax.saxutils import escape

REQUEST = "00000000-0000-0000-0000-000000000000"
EC2 = "http://ec2.amazonaws.com/doc/2016-11-15/"

# The services that speak XML; EC2 with errors of its own.
XML = ("autoscaling", "iam", "sts")


def ok(call, inner="<return>true</return>"):
    """What EC2 answers to an operation that went well."""
    text = f'<{call.operation}Response xmlns="{EC2}"><requestId>{REQUEST}</requestId>{inner}</{call.operation}Response>'
    return 200, "text/xml", text.encode()


def items(name, rows):
    """A list of structures, each a dictionary of elements."""
    inner = "".join("<item>" + "".join(f"<{key}>{escape(value)}</{key}>" for key, value in row.items()) + "</item>" for row in rows)
    return f"<{name}>{inner}</{name}>"


def error(service, code, message, status=400):
    """An error in the form of the service."""
    body = f"<Code>{code}</Code><Message>{escape(message)}</Message>"
    if service == "ec2":
        text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error>{body}</Error></Errors><RequestID>{REQUEST}</RequestID></Response>'
        return status, "text/xml", text.encode()
    if service in XML:
        text = f"<ErrorResponse><Error><Type>Sender</Type>{body}</Error><RequestId>{REQUEST}</RequestId></ErrorResponse>"
        return status, "text/xml", text.encode()
    kind = f"com.amazonaws.dynamodb.v20120810#{code}" if service == "dynamodb" else code
    return status, "application/x-amz-json-1.0", json.dumps({"__type": kind, "message": message}).encode()


def refusal(code, message):
    """What EC2 answers to a request that it does not fulfil, with the status that it has for nearly all of them."""
    return error("ec2", code, message)
