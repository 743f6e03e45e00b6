"""The dependency policy, checked on the lockfile and on what cargo knows: `make check`.

Licences are on the list, sources are the registry, and what would come along by mistake stays out: an old hyper or rustls beside the
new ones (the AWS SDK's default features bring them), a second TLS stack for AWS, a second date library.
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
BANNED = {"chrono", "native-tls", "serde_yml", "unsafe-libyaml", "reqwest", "hyper-tls", "lazy_static-old"}


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
    for line in wrong:
        print(f"dependency policy: {line}", file=sys.stderr)
    print(f"dependency policy: {len(metadata['packages'])} packages, {len(wrong)} wrong")
    return 1 if wrong else 0


sys.exit(main())
