"""Every invariant of ARCHITECTURE.md names tests that guard it, and they exist; nothing logs the Debug form of a value, and what serves HTTP is named
in one place only: `make check`.

That the pure crates are pure is for scripts/dependency_policy.py (what they depend on) and clippy (what of the standard library they call).
"""

import re
import sys
from pathlib import Path

from mutants import exists, sources

ROOT = Path(__file__).resolve().parent.parent


LOGS = re.compile(r"\b(?:tracing::)?(?:trace|debug|info|warn|error)!\(")
DEBUG_FORM = re.compile(r"(?:[(,=]\s*\?\s*[a-z_&(*])|\{[^{}]*:#?\?\}|\bdebug\(")


def debug_forms():
    """The log is for operators: nothing in it has the form that programmers print values in (`Some("x")`, `Step`)."""
    for file in sorted(sources()):
        code = file.read_text(encoding="utf-8").partition("\n#[cfg(test)]")[0]
        for found in LOGS.finditer(code):
            depth, at = 1, found.end()
            while depth and at < len(code):
                depth += {"(": 1, ")": -1}.get(code[at], 0)
                at += 1
            if DEBUG_FORM.search(code[found.end() - 1 : at]):
                line = code.count("\n", 0, found.start()) + 1
                yield f"{file.relative_to(ROOT)}:{line} logs the Debug form of a value"


# What only one place may name: what stands behind it can be replaced there, and nothing of it is set up elsewhere.
ALONE = {
    re.compile(r"\b(?:axum|hyper|hyper_util)::"): "src/web/",
    re.compile(r"\bprometheus_client::"): "src/metrics/",
    re.compile(r"\breconciler::web\b"): "src/commands/run.rs",
    re.compile(r"\bcrate::web\b"): "src/web/",
}


def out_of_place():
    """Who serves HTTP is named by nobody but the daemon."""
    for file in sorted(sources()):
        path = file.relative_to(ROOT).as_posix()
        code = file.read_text(encoding="utf-8")
        for named, place in ALONE.items():
            if not path.startswith(place) and named.search(code):
                yield f"{path} names what only {place} may: {named.search(code).group()}"


def main():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    _, _, table = text.partition("\n## Invariants, and what guards them\n")
    rows = [row for row in table.partition("\n## ")[0].splitlines() if re.match(r"\| \d+ \|", row)]
    wrong, named = [], 0
    for row in rows:
        number, _, guards = (cell.strip() for cell in row.strip("|").split("|", 2))
        # Two parts name a module, three or more a test.
        tests = re.findall(r"`([a-z0-9_]+(?:::[a-z0-9_]+){2,})`", guards)
        named += len(tests)
        if not tests and "`scripts/dependency_policy.py`" not in guards:
            wrong.append(f"invariant {number} names no test")
        wrong += [f"invariant {number}: there is no test {test}" for test in tests if not exists(f"lib {test}") and not exists(f"it {test}")]
    wrong += debug_forms()
    wrong += out_of_place()
    if wrong or not rows:
        sys.exit("guards:\n" + "\n".join(wrong or ["no table of invariants"]))
    print(f"{len(rows)} invariants, {named} tests that guard them, all there")


if __name__ == "__main__":
    main()
