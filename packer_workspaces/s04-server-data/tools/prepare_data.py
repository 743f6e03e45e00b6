"""Writes the server's map data. Needs the package `mapdata` of its virtual environment."""

import os
from pathlib import Path

import mapdata


def main():
    version = os.environ["DATA_VERSION"]
    folder = Path.home() / "server_data"
    folder.mkdir(exist_ok=True)
    for name, content in mapdata.tiles(version, 8):
        (folder / name).write_text(content)
    print(f"data {version}: {len(list(folder.iterdir()))} tiles in {folder}")


main()
