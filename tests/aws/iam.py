"""Judges one request by IAM documents, as AWS does: an explicit Deny, then an Allow, else no.

Only what it knows is judged. A document with an operator, a condition key, an element or an action that it does not know is refused whole, when
it is set and not when it is met: what was guessed would pass for tested. After *IAM JSON policy evaluation logic* and *IAM JSON policy
elements* of AWS's user guide. What a call asks for is `authorization`'s business.
"""

import re

ELEMENTS = {"Sid", "Effect", "Action", "Resource", "Condition"}

# Actions that are no operations of an API.
PERMISSIONS = {"iam:PassRole", "dynamodb:ConditionCheckItem"}

# One value a request; with a slash at the end: a tag's key follows.
SINGLE = {
    "aws:requestedregion",
    "aws:requesttag/",
    "aws:resourcetag/",
    "ec2:createaction",
    "ec2:instanceprofile",
    "ec2:instancetype",
    "ec2:owner",
    "ec2:resourcetag/",
    "ec2:vpc",
    "iam:passedtoservice",
}

# Any number of values; asked for by ForAllValues and ForAnyValue, or by Null.
MANY = {"aws:calledvia", "aws:tagkeys", "dynamodb:leadingkeys"}


class Unjudgeable(Exception):
    """A document that this evaluator does not understand."""


def as_list(value):
    return value if isinstance(value, list) else [value]


def like(pattern, text):
    """`*` any text, `?` one character; upper and lower case differ."""
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def arn_like(pattern, text):
    """Each of the six parts by itself, so that a `*` reaches no colon but in the last."""
    wanted, found = pattern.split(":", 5), text.split(":", 5)
    return len(wanted) == len(found) == 6 and all(map(like, wanted, found))


# What an operator asks of a value, and whether the answer is turned round.
OPERATORS = {
    "StringEquals": (lambda wanted, found: wanted == found, False),
    "StringNotEquals": (lambda wanted, found: wanted == found, True),
    "StringEqualsIgnoreCase": (lambda wanted, found: wanted.lower() == found.lower(), False),
    "StringLike": (like, False),
    "StringNotLike": (like, True),
    "ArnEquals": (arn_like, False),
    "ArnLike": (arn_like, False),
    "ArnNotEquals": (arn_like, True),
    "ArnNotLike": (arn_like, True),
}


class Test:
    """One operator with one key and the values that fit."""

    def __init__(self, operator, key, values):
        # Names of keys, tags' too, are the same in upper and lower case.
        self.key, self.values = key.lower(), [str(value) for value in as_list(values)]
        self.quantifier, _, rest = operator.rpartition(":")
        self.if_exists = rest.endswith("IfExists")
        self.name = rest.removesuffix("IfExists")
        place = self.key.partition("/")[0] + "/" if "/" in self.key else self.key
        if self.name != "Null" and self.name not in OPERATORS:
            raise Unjudgeable(f"the operator {operator}")
        if self.quantifier not in ("", "ForAllValues", "ForAnyValue"):
            raise Unjudgeable(f"the operator {operator}")
        if place not in SINGLE | MANY or self.key.endswith("/"):
            raise Unjudgeable(f"the condition key {key}")
        if self.name == "Null":
            if self.quantifier or self.if_exists or not set(self.values) <= {"true", "false"}:
                raise Unjudgeable(f"{operator} of {key}")
        elif bool(self.quantifier) != (self.key in MANY):
            raise Unjudgeable(f"{operator} of {key}: a key of many values wants ForAllValues or ForAnyValue, one of a single value neither")
        if any("${" in value for value in self.values):
            raise Unjudgeable(f"a policy variable in {key}")

    def holds(self, context):
        found = context.get(self.key)
        if self.name == "Null":
            return any((value == "true") == (not found) for value in self.values)
        fits, turned = OPERATORS[self.name]
        one = lambda value: any(fits(wanted, value) for wanted in self.values) != turned  # noqa: E731
        if self.quantifier:
            return (all if self.quantifier == "ForAllValues" else any)(one(value) for value in found or [])
        # A key that the request does not have fits nothing: so a negation holds.
        return self.if_exists or turned if found is None else one(found)


class Statement:
    def __init__(self, body, known):
        unknown = set(body) - ELEMENTS
        if unknown:
            raise Unjudgeable(f"the element {sorted(unknown)[0]}")
        if body.get("Effect") not in ("Allow", "Deny"):
            raise Unjudgeable(f"the effect {body.get('Effect')}")
        self.sid, self.allows = body.get("Sid", "a statement without Sid"), body["Effect"] == "Allow"
        self.actions, self.resources = as_list(body["Action"]), as_list(body["Resource"])
        for action in self.actions:
            if "*" not in action and "?" not in action and not known(action):
                raise Unjudgeable(f"the action {action}")
        for resource in self.resources:
            if "${" in resource or (resource != "*" and len(resource.split(":", 5)) != 6):
                raise Unjudgeable(f"the resource {resource}")
        tests = body.get("Condition", {}).items()
        self.tests = [Test(operator, key, values) for operator, keys in tests for key, values in keys.items()]

    def speaks_of(self, action, resource, context):
        named = any(like(one.lower(), action.lower()) for one in self.actions)
        return named and any(like(one, resource) for one in self.resources) and all(test.holds(context) for test in self.tests)


class Policies:
    """Some documents that count together."""

    def __init__(self, documents, known):
        self.statements = []
        for document in documents:
            if document.get("Version") != "2012-10-17" or set(document) != {"Version", "Statement"}:
                raise Unjudgeable("a document of another version, or with more than its statements")
            self.statements += [Statement(body, known) for body in as_list(document["Statement"])]

    def refusal(self, action, resource, context):
        """Why not, in AWS's words; none if it is allowed."""
        context = {key.lower(): value for key, value in context.items()}
        met = [one for one in self.statements if one.speaks_of(action, resource, context)]
        on = f"is not authorized to perform: {action} on resource: {resource}"
        if any(not one.allows for one in met):
            return f"{on} with an explicit deny in an identity-based policy"
        if not met:
            return f"{on} because no identity-based policy allows the {action} action"
        return None
