"""Counts the lines of code of the program: `scripts/lines.py [--by-folder] [ROOT…]`.

A line counts if it holds code. Blank lines, comments, documentation and everything that is compiled for tests only (`#[cfg(test)]` items, the
files of such modules, `tests.rs`) do not. To compare two commits, format both with the same rustfmt.toml first: `git worktree add`, copy the
file there, `cargo fmt`.
"""

import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEST = re.compile(r"^[ \t]*#\[cfg\(test\)\][ \t]*\n", re.MULTILINE)
# What a brace in it would not open: texts, characters, comments.
OPAQUE = re.compile(r"""r(#*)".*?"\1|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\\n])'|//[^\n]*|/\*.*?\*/""", re.DOTALL)


def plain(code: str) -> str:
    """The same text with comments and the insides of texts blanked out; lines stay."""

    def blank(found: re.Match[str]) -> str:
        text = found.group()
        if text.startswith(("//", "/*")):
            return "\n" * text.count("\n")
        return re.sub(r"[^\n]", "_", text)

    return OPAQUE.sub(blank, code)


def end_of_item(code: str, at: int) -> int:
    """Where the item that begins here ends: its semicolon, or its last brace."""
    depth = 0
    for place in range(at, len(code)):
        sign = code[place]
        if sign in "{([":
            depth += 1
        elif sign in "})]":
            depth -= 1
            if depth == 0 and sign == "}":
                return place + 1
        elif sign == ";" and depth == 0:
            return place + 1
    return len(code)


def without_tests(code: str) -> tuple[str, list[str]]:
    """The code without items for tests only, and the modules in files of their own among these."""
    modules = []
    while found := TEST.search(code):
        end = end_of_item(code, found.end())
        item = code[found.end() : end]
        modules += re.findall(r"^\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;", item)
        code = code[: found.start()] + code[end:]
    return code, modules


def count(root: Path) -> Counter[str]:
    """Lines by the first folders of each file's path."""
    files = sorted([*root.glob("src/**/*.rs"), *root.glob("crates/*/src/**/*.rs"), *root.glob("build.rs"), *root.glob("crates/*/build.rs")])
    kept, left_out = {}, []
    for file in files:
        code, modules = without_tests(plain(file.read_text(encoding="utf-8")))
        kept[file] = code
        own = file.parent if file.name in ("mod.rs", "lib.rs", "main.rs") else file.with_suffix("")
        left_out += [own / module for module in modules]
    lines: Counter[str] = Counter()
    for file, code in kept.items():
        if any(file.with_suffix("") == module or module in file.parents for module in left_out):
            continue
        folder = file.relative_to(root).parent
        lines["/".join(folder.parts[: 3 if folder.parts[:1] == ("crates",) else 2])] += sum(1 for line in code.splitlines() if line.strip())
    return lines


def main() -> None:
    roots = [Path(name) for name in sys.argv[1:] if not name.startswith("-")] or [ROOT]
    for root in roots:
        lines = count(root)
        if "--by-folder" in sys.argv:
            for folder, number in lines.most_common():
                print(f"{number:7} {folder or '.'}")
        print(f"{sum(lines.values()):7} lines of code in {root.name}")


if __name__ == "__main__":
    main()
