"""Renders templates with the real Jinja2: reads {"context", "templates"} as JSON, writes a list of {"ok"} or {"error"}."""

import json
import sys

import jinja2


def render(text, context):
    try:
        return {"ok": jinja2.Template(text).render(**context)}
    except Exception as error:  # whatever it is, the other side must refuse as well
        return {"error": f"{type(error).__name__}: {error}"}


asked = json.load(sys.stdin)
print(json.dumps([render(text, asked["context"]) for text in asked["templates"]]))
