"""Seeded bugs that the tests must catch: `make mutants`; with --check it only looks whether the list is still true.

Each file tests/mutants/NAME.mutant is one bug: a sentence that says what is wrong, the tests that must catch it, and what is replaced by what.
The place is a comment in the code, `// Seeded bug: NAME` (or `NAME (2)`, where a bug has several places), whatever file it stands in: what is
replaced is the first code after it that reads so, however it is wrapped. In the replacement, MUTANT is true while this bug is at work. So all of them are compiled once, into a copy of the project below target/,
and tried one after the other. A bug is caught if one of its tests fails; it is an error if none does, or if one fails without any bug.

    mutants.py [--check] [NAME…]
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "tests/mutants"
COPY = ROOT / "target/mutants"
# How far behind its marker the code of a bug may begin and end.
REACH = 3000
# Which bug is at work is asked of a file, for builds run in processes whose environment is cleared.
SWITCH = f'''//! Which seeded bug is at work: scripts/mutants.py.

/// Whether it is this one.
#[must_use]
pub fn is(name: &str) -> bool {{
    std::fs::read("{COPY}/at-work").is_ok_and(|at_work| at_work == name.as_bytes())
}}
'''


MARKER = re.compile(r"// Seeded bug: [^\n]+")
# Names, numbers, texts, lifetimes; whatever else, sign by sign.
TOKEN = re.compile(r"""\w+|"(?:\\.|[^"\\])*"|//[^\n]*|\S""")
GAP = r"(?:\s|//[^\n]*\n)*"


def sources():
    """Where the program's code stands."""
    return [*(ROOT / "src").rglob("*.rs"), *(ROOT / "crates").rglob("*.rs")]


def marked():
    """The files that hold each marker."""
    places = {}
    for path in sources():
        for marker in MARKER.findall(path.read_text(encoding="utf-8")):
            places.setdefault(marker.removeprefix("// Seeded bug: "), []).append(path.relative_to(ROOT))
    return places


MARKED = marked()


class Edit:
    """What is replaced by what, behind a marker."""

    def __init__(self, marker, search, replace):
        self.marker, self.search, self.replace = marker, search, replace
        parts = []
        for token in TOKEN.findall(search):
            if token in ")]}":
                # A list that is broken over lines ends in a comma.
                if parts and parts[-1] == ",":
                    parts.pop()
                parts.append(",?" + GAP + re.escape(token))
            else:
                parts.append(token if token == "," else re.escape(token))
        self.pattern = re.compile(GAP.join(parts))

    def file(self):
        return str(MARKED[self.marker][0])

    def find(self, text):
        at = re.search(rf"// Seeded bug: {re.escape(self.marker)}\n", text)
        return at and self.pattern.search(text, at.end(), at.end() + REACH)

    def wrong(self):
        places = MARKED.get(self.marker, [])
        if len(places) != 1:
            yield f"the marker `// Seeded bug: {self.marker}` stands {len(places)} times in the code"
        elif not self.find((ROOT / places[0]).read_text(encoding="utf-8")):
            yield f"behind its marker in {places[0]} does not stand:\n{self.search}"
        if "MUTANT" not in self.replace:
            yield f"MUTANT does not stand in what comes instead at {self.marker}"


class Mutant:
    """One seeded bug, as its file tells it."""

    def __init__(self, path):
        self.name = path.stem
        head, *parts = path.read_text(encoding="utf-8").split("\nat: ")
        lines = head.splitlines()
        self.sentence = " ".join(line for line in lines if not line.startswith("caught by: "))
        self.tests = [line.removeprefix("caught by: ") for line in lines if line.startswith("caught by: ")]
        self.edits = []
        for part in parts:
            edit = re.fullmatch(r"(.+?)\n<<<<<<<\n(.+?)\n=======\n(.+?)\n>>>>>>>\n*", part, re.DOTALL)
            if not edit:
                sys.exit(f"{path}: an edit is a marker, <<<<<<<, what is there, =======, what comes instead, >>>>>>>")
            self.edits.append(Edit(*edit.groups()))

    def wrong(self):
        """Why this file is no longer true."""
        if not self.tests or not self.edits:
            yield "names no test that catches it, or no edit"
        for edit in self.edits:
            yield from edit.wrong()
        yield from (f"there is no test {test}" for test in self.tests if not exists(test))

    def apply(self, texts):
        """Puts the bug into these texts of files, asleep; the files where another bug is in its way."""
        for edit in self.edits:
            file = edit.file()
            text = texts.get(file) or (ROOT / file).read_text(encoding="utf-8")
            found = edit.find(text)
            if not found:
                yield file
                continue
            # Markers of other bugs stand in front of what is replaced, and stay.
            markers = "".join(marker + "\n" for marker in MARKER.findall(found.group()))
            mutant = re.sub(r"\bMUTANT\b", f'crate::mutant::is("{self.name}")', edit.replace)
            texts[file] = text[: found.start()] + markers + mutant + text[found.end() :]


def exists(test):
    """Whether a test stands where its path says: `lib git::tests::name`, `lib reconciler_core::plan::tests::name`, `it builder::ends::name`."""
    kind, _, path = test.partition(" ")
    *modules, name = path.split("::")
    base = ROOT / ("src" if kind == "lib" else "tests/it")
    if kind == "lib" and modules and modules[0].startswith("reconciler_"):
        base = ROOT / "crates" / modules.pop(0).removeprefix("reconciler_") / "src"
    for depth in range(len(modules), -1, -1):
        inner = modules[depth:]
        folder = base.joinpath(*modules[:depth])
        for place in (folder.with_suffix(".rs"), folder / "mod.rs") if depth else (folder / "lib.rs",):
            text = place.read_text(encoding="utf-8") if place.exists() else ""
            # A test of its own, or a rule that a macro makes a test of.
            if re.search(rf"\bfn {name}\(|^ +{name},$", text, re.MULTILINE) and all(re.search(rf"\bmod {one}\b", text) for one in inner):
                return True
    return False


def put(path, text):
    """Writes a file if it is another, so that nothing is compiled for nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text if isinstance(text, bytes) else text.encode()
    if not path.exists() or path.read_bytes() != data:
        path.write_bytes(data)


def copy(mutants):
    """The project as it stands, committed or not, with all bugs asleep."""
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = {name for name in names.split("\0") if name and (ROOT / name).is_file()}
    roots = [str(path.relative_to(ROOT)) for path in [ROOT / "src/lib.rs", *ROOT.glob("crates/*/src/lib.rs")]]
    changed = {edit.file() for mutant in mutants for edit in mutant.edits} | set(roots)
    before = {file: (COPY / file).read_bytes() for file in changed if (COPY / file).exists()}
    times = {file: (COPY / file).stat().st_mtime_ns for file in before}
    for name in names:
        put(COPY / name, (ROOT / name).read_bytes())
        shutil.copymode(ROOT / name, COPY / name)
    for path in [*(COPY / "src").rglob("*.rs"), *(COPY / "crates").rglob("*.rs"), *(COPY / "tests").rglob("*.rs")]:
        if str(path.relative_to(COPY)) not in names:
            path.unlink()
    for root in roots:
        put((COPY / root).with_name("mutant.rs"), SWITCH)
    texts = {root: (ROOT / root).read_text(encoding="utf-8") + "\n#[doc(hidden)]\npub mod mutant;\n" for root in roots}
    for mutant in mutants:
        if list(mutant.apply(texts)):
            sys.exit(f"mutants: {mutant.name} replaces what another bug replaces")
    for file, text in texts.items():
        put(COPY / file, text)
    for file, data in before.items():
        if (COPY / file).read_bytes() == data:
            os.utime(COPY / file, ns=(times[file], times[file]))
    (COPY / "at-work").unlink(missing_ok=True)
    if not (COPY / ".tools").is_symlink():
        (COPY / ".tools").symlink_to(ROOT / ".tools")
    for part in ("deps", "build", ".fingerprint"):
        # The dependencies are compiled already: the same files, under another name. Cargo writes into those of the other two in place.
        if not (COPY / "target/debug" / part).exists() and (ROOT / "target/debug" / part).exists():
            (COPY / "target/debug").mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-al" if part == "deps" else "-a", ROOT / "target/debug" / part, COPY / "target/debug" / part], check=True)


def build():
    """The two test programs."""
    env = {**os.environ, "CARGO_TARGET_DIR": str(COPY / "target")}
    command = ["cargo", "test", "--locked", "--workspace", "--no-run", "--lib", "--test", "it", "--message-format=json-render-diagnostics"]
    done = subprocess.run(command, cwd=COPY, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit("mutants: this does not compile")
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    programs = [message for message in messages if message.get("executable") and message.get("profile", {}).get("test")]
    return {program["target"]["name"]: program["executable"] for program in programs}


def program_of(test):
    """The program that a test is in, and its name there."""
    kind, _, path = test.partition(" ")
    first, _, rest = path.partition("::")
    if kind == "lib" and first.startswith("reconciler_"):
        return first, rest
    return ("it" if kind == "it" else "reconciler"), path


def run(programs, tests):
    """Runs tests; those that fail."""
    failed = []
    for kind, program in programs.items():
        names = sorted({name for where, name in map(program_of, tests) if where == kind})
        if not names:
            continue
        # The simulation meets some mistakes in one of hundreds of seeds only.
        env = {**os.environ, "RECONCILER_TEST_SEEDS": "2000"}
        done = subprocess.run([program, "--exact", *names], cwd=COPY, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        ran = re.search(r"running (\d+) tests?", done.stdout)
        if not ran or int(ran.group(1)) != len(names):
            sys.exit(f"mutants: not all of these tests exist: {names}\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
        failed += sorted(set(re.findall(r"^test (\S+)(?: - should panic)? \.\.\. FAILED$", done.stdout, re.MULTILINE)))
        if done.returncode and not failed:
            failed.append(f"{kind}: {done.stderr[-300:]}")
    return failed


def main():
    if "--help" in sys.argv or "-h" in sys.argv:
        return print(__doc__.strip())
    names = [name for name in sys.argv[1:] if not name.startswith("-")]
    every = [Mutant(path) for path in sorted(LIST.glob("*.mutant"))]
    stale = [f"{mutant.name}: {why}" for mutant in every for why in mutant.wrong()]
    known = {edit.marker for mutant in every for edit in mutant.edits}
    stale += [f"no bug has the marker `{marker}` of {', '.join(map(str, files))}" for marker, files in MARKED.items() if marker not in known]
    texts = {}
    if not stale:
        stale = [f"{mutant.name}: another bug replaces the same in {file}" for mutant in every for file in mutant.apply(texts)]
    if stale:
        sys.exit("mutants: no longer true:\n" + "\n".join(stale))
    if "--check" in sys.argv:
        return print(f"{len(every)} mutants apply, and their tests exist")
    copy(every)
    programs = build()
    chosen = [mutant for mutant in every if not names or mutant.name in names]
    failed = run(programs, [test for mutant in chosen for test in mutant.tests])
    if failed:
        sys.exit(f"mutants: without any bug these tests fail: {failed}")
    print("without any bug all tests pass\n\n| bug | caught by | after |\n| --- | --- | --- |", flush=True)
    missed = []
    for mutant in chosen:
        begin = time.monotonic()
        (COPY / "at-work").write_text(mutant.name)
        failed = run(programs, mutant.tests)
        (COPY / "at-work").unlink()
        caught = ", ".join(f"`{test}`" for test in failed) or "**nobody**"
        print(f"| {mutant.sentence} | {caught} | {time.monotonic() - begin:.0f} s |", flush=True)
        if not failed:
            missed.append(f"{mutant.name}: {mutant.sentence}")
    if missed:
        sys.exit("\nmutants: nobody noticed:\n" + "\n".join(missed))
    print(f"\n{len(chosen)} bugs, all caught")


if __name__ == "__main__":
    main()
