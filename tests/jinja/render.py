"""Renders templates with the real Jinja2: reads {"context", "templates", "strict"} as JSON, writes a list of {"ok"} or {"error"}."""

import json
import sys
import warnings

import jinja2

# Unknown escapes are what some cases are about.
warnings.simplefilter("ignore")


def render(text, context, undefined):
    try:
        rendered = jinja2.Template(text, undefined=undefined).render(**context)
        rendered.encode("utf-8")  # what cannot be written to a file is no text
        return {"ok": rendered}
    except Exception as error:  # whatever it is, the other side must refuse as well
        return {"error": f"{type(error).__name__}: {error}"}


asked = json.load(sys.stdin)
undefined = jinja2.StrictUndefined if asked.get("strict") else jinja2.Undefined
print(json.dumps([render(text, asked["context"], undefined) for text in asked["templates"]]))
