"""The recorder of power.c, tried on a program whose losses are known."""

import pathlib
import subprocess
import sys
import tempfile

import parts
import power

# What a program does, and what must be there after the power was lost.
PROGRAM = """
import os
os.chdir({directory!r})
def sync(path):
    fd = os.open(path, os.O_RDONLY); os.fsync(fd); os.close(fd)
def write(name, text, mode="wb", synced=True):
    with open(name, mode) as file:
        file.write(text); file.flush()
        if synced: os.fsync(file.fileno())
write("a", b"safe and sound")          # synced, and so is its name, below
write("b", b"never synced", synced=False)
os.mkdir("in")
write("in/c", b"deep")
sync("in")
write("gone", b"removed, and that was not synced")
write("moved", b"new"); write("target", b"old")
sync(".")
with open("a", "ab") as file: file.write(b", and then some")
with open("target", "r+b") as file: file.write(b"OLD")
os.unlink("gone")
os.rename("moved", "target")
write("late", b"synced, but not its name")
fd = os.open("in/c", os.O_RDWR)
os.pwrite(fd, b"DEEPER", 0); os.fdatasync(fd); os.pwrite(fd, b"shallow", 0); os.ftruncate(fd, 3)
os.mkdir("new"); write("new/d", b"in a folder without a name"); sync("new")
"""
LEFT = {
    "a": b"safe and sound",
    "b": b"",
    "in/c": b"DEEPER",
    "gone": b"removed, and that was not synced",
    "moved": b"new",
    "target": b"old",
}


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="otlpd-power-"))
    directory = folder / "storage"
    directory.mkdir()
    recorded = power.Recorded(folder, directory)
    subprocess.run(
        [sys.executable, "-c", PROGRAM.format(directory=str(directory))],
        env=recorded.environment(),
        check=True,
    )
    recorded.lose()
    found = {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }
    failures = [
        f"{name}: {found.get(name)} is there, and {LEFT.get(name)} should be"
        for name in sorted(set(found) | set(LEFT))
        if found.get(name) != LEFT.get(name)
    ]
    parts.verdict("power_test", failures, f"{len(LEFT)} files after a loss of power")


if __name__ == "__main__":
    main()
