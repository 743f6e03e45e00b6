"""The one dependency of prepare_data.py: writes map tiles."""


def tiles(version, count):
    """The names and contents of the tiles of a data version."""
    for number in range(count):
        yield f"tile-{number:03}.map", f"data {version}, tile {number}\n"
