"""The dependency policy and the architecture, checked on the lockfile and on what cargo knows: `make check`.

Licences are on the list, sources are the registry, and what would come along by mistake stays out: an old hyper or rustls beside the
new ones (the AWS SDK's default features bring them), a second TLS stack for AWS, a second date library.

The crates of this workspace use each other downwards only, and the pure ones depend, through whatever else, on nothing that could look or act.
"""

import json
import subprocess
import sys
from collections import defaultdict

LICENCES = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CDLA-Permissive-2.0",
    "ISC", "MIT", "MIT-0", "MPL-2.0", "OpenSSL", "Unicode-3.0", "Unlicense", "Zlib", "LGPL-2.1-or-later",
}
# One major version only: two of these would be two implementations of the same protocol in one program.
SINGLE = {"hyper", "rustls", "http", "tokio", "h2", "git2", "rusqlite", "serde", "minijinja"}
# The SDK's own types still speak http 0.2 at their edges; no second client comes with it.
ALLOWED_TWICE = {"http"}
BANNED = {"chrono", "native-tls", "serde_yml", "unsafe-libyaml", "hyper-tls", "lazy_static-old"}

# What each crate of this workspace may use of the others.
BELOW = {
    "reconciler-model": set(),
    "reconciler-jinja": {"reconciler-model"},
    "reconciler-hcl": {"reconciler-model"},
    "reconciler-items": {"reconciler-model"},
    "reconciler-core": {"reconciler-model", "reconciler-jinja", "reconciler-hcl"},
    "reconciler-aws": {"reconciler-model", "reconciler-items", "reconciler-core"},
    "reconciler": {"reconciler-model", "reconciler-jinja", "reconciler-hcl", "reconciler-items", "reconciler-core", "reconciler-aws"},
}
PURE = ["reconciler-model", "reconciler-jinja", "reconciler-hcl", "reconciler-items", "reconciler-core"]
# What acts: runtimes, processes, files, git, stores, AWS.
ACTS = {"tokio", "git2", "libgit2-sys", "rusqlite", "libsqlite3-sys", "rustix", "nix", "notify", "hyper", "reqwest", "rustls", "tempfile", "sd-notify"}


def architecture(metadata):
    """What of the crates of this workspace is not as ARCHITECTURE.md says."""
    names = {package["id"]: package["name"] for package in metadata["packages"]}
    # Normal dependencies only: tests may use what they like.
    uses = {
        node["id"]: [one["pkg"] for one in node["deps"] if any(kind["kind"] is None for kind in one["dep_kinds"])] for node in metadata["resolve"]["nodes"]
    }
    members = {names[package]: package for package in metadata["workspace_members"]}
    for name in sorted(set(members) ^ set(BELOW)):
        yield f"{name} is a crate that the architecture does not know, or the other way round"
    for name, package in members.items():
        for used in sorted({names[one] for one in uses[package]} & set(members)):
            if used not in BELOW.get(name, set()):
                yield f"{name} uses {used}, which is not below it"
    for name in PURE:
        seen, next_ones = set(), [members[name]]
        while next_ones:
            package = next_ones.pop()
            if package not in seen:
                seen.add(package)
                next_ones += uses[package]
        for acting in sorted(one for one in {names[package] for package in seen} if one in ACTS or one.startswith(("aws-sdk-", "aws-smithy-", "aws-config"))):
            yield f"{name} is pure and depends on {acting}"


def main():
    text = subprocess.run(["cargo", "metadata", "--format-version", "1", "--locked"], check=True, capture_output=True, text=True).stdout
    metadata = json.loads(text)
    wrong = []
    majors = defaultdict(set)
    for package in metadata["packages"]:
        name = f"{package['name']} {package['version']}"
        if package["source"] is None:
            continue
        if not package["source"].startswith("registry+"):
            wrong.append(f"{name} comes from {package['source']}, not from the registry")
        parts = (package["license"] or "none").replace("(", "").replace(")", "").replace("/", " OR ").split(" OR ")
        choices = [all(part.strip() in LICENCES for part in choice.split(" AND ")) for choice in parts]
        if not any(choices):
            wrong.append(f"{name} has the licence {package['license']}")
        if package["name"] in BANNED:
            wrong.append(f"{name} is not wanted here")
        major = package["version"].split(".")
        majors[package["name"]].add(major[0] if major[0] != "0" else f"0.{major[1]}")
    for name in sorted(SINGLE - ALLOWED_TWICE):
        if len(majors[name]) > 1:
            wrong.append(f"{name} is there in several versions: {', '.join(sorted(majors[name]))}")
    wrong += architecture(metadata)
    for line in wrong:
        print(f"dependency policy: {line}", file=sys.stderr)
    print(f"dependency policy: {len(metadata['packages'])} packages, {len(wrong)} wrong")
    return 1 if wrong else 0


sys.exit(main())
