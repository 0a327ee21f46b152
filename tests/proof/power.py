"""What a loss of power leaves of the files: what was synced, and nothing else is promised."""

import os
import pathlib
import shutil
import subprocess

import parts


def of(kind, folder, directory):
    kinds = {"none": Kept, "recorded": Recorded, "journal": Journal, "image": Image}
    return kinds[kind](folder, directory)


class Kept:
    """The power stays on: a process that is killed loses nothing that it has written."""

    def __init__(self, folder, directory):
        self.folder, self.directory = folder, directory
        self.cut = {"files": 0, "bytes": 0}

    def environment(self):
        return {}

    def lose(self):
        pass

    def judge(self, account, _killed, _given):
        return [
            f"MISSING {len(numbers)} of {request.count} items of request {request.first} "
            f"({request.signal} over {request.transport}, {request.attempts} attempts, sent at "
            f"{request.sent:.3f}, acknowledged at {request.answered:.3f}; the next kill was "
            f"{after(request, _killed)})"
            for request, numbers in account.missing[:20]
        ]

    def words(self):
        return ""

    def end(self):
        pass


def after(request, killed):
    for number, (at, _) in enumerate(killed):
        if at >= request.answered:
            return f"number {number + 1}, {(at - request.answered) * 1000:.1f} ms later"
    return "none"


class PowerLoss(Kept):
    def judge(self, account, killed, given):
        if given.fsync == "always":
            return super().judge(account, killed, given)
        # With an interval, what was acknowledged within the last one may be gone; and a half more
        # for the sync itself, which takes its time on a busy machine.
        allowed = (given.sync_interval or 1.0) * 1.5
        self.lost, self.oldest = account.missing_items(), 0.0
        too_old = []
        for request, numbers in account.missing:
            ages = [at - request.answered for at, _ in killed if at >= request.answered]
            age = min(ages, default=float("inf"))
            self.oldest = max(self.oldest, age)
            if given.fsync == "interval" and age > allowed:
                too_old.append((request, numbers))
        account.missing = too_old
        return super().judge(account, killed, given)

    def words(self):
        if not hasattr(self, "lost"):
            return ""
        return (
            f"lost with the power: {self.lost} items, the oldest of them acknowledged "
            f"{self.oldest:.3f} s before"
        )


class Recorded(PowerLoss):
    """Cuts files back by the record that power.c keeps."""

    # Whether a sync of anything makes all earlier names last, as with the journals of ext4 and XFS.
    # POSIX promises no such thing.
    JOURNAL = False

    def __init__(self, folder, directory):
        super().__init__(folder, directory)
        self.library = folder / "power.so"
        self.side = folder / "power"
        self.side.mkdir()
        source = pathlib.Path(__file__).with_name("power.c")
        build = ["cc", "-O1", "-shared", "-fPIC", "-Wall", "-o", self.library, source, "-ldl"]
        subprocess.run([str(part) for part in build + ["-lpthread"]], check=True)

    def environment(self):
        return {
            "LD_PRELOAD": str(self.library),
            "POWER_DIRECTORY": str(self.directory.resolve()),
            "POWER_SIDE": str(self.side.resolve()),
        }

    def lose(self):
        cut_back(self.directory.resolve(), self.side, self.JOURNAL)
        shutil.rmtree(self.side)
        self.side.mkdir()


class Journal(Recorded):
    """The same, on a file system whose names are in a journal."""

    JOURNAL = True


class Known:
    """A file, by its inode."""

    def __init__(self):
        self.size = 0
        # (offset, file with the bytes as they were) of what was overwritten since the last sync
        self.undo = []
        # {sync: (size, how much of `undo` was there)} of those that are under way
        self.begun = {}

    def synced(self, sync):
        if sync not in self.begun:
            return
        # Of two syncs at once, the one that began later says more.
        later = list(self.begun)[list(self.begun).index(sync) + 1 :]
        size, settled = self.begun[sync]
        self.size = size
        self.undo = self.undo[settled:]
        self.begun = {
            one: (self.begun[one][0], max(0, self.begun[one][1] - settled)) for one in later
        }


def read_events(side):
    path = side / "log"
    if not path.exists():
        return []
    # A last line that was being written when it was killed counts: what it says was about to be.
    return [line.split("\t") for line in path.read_text().splitlines()]


def cut_back(directory, side, journal):
    files, entries = {}, []
    for words in read_events(side):
        kind = words[0]
        if kind == "C":
            files[words[2]] = Known()
            entries.append((parent(words[1]), "create", words[1], words[2]))
        elif kind == "D":
            entries.append((parent(words[1]), "mkdir", words[1], None))
        elif kind == "O":
            # Opened, and older than the last loss: all of it is on the disk.
            if words[1] not in files:
                files[words[1]] = Known()
                files[words[1]].size = int(words[2])
        elif kind == "B":
            known = files.setdefault(words[1], Known())
            known.begun[words[3]] = (int(words[2]), len(known.undo))
        elif kind == "F":
            files.setdefault(words[1], Known()).synced(words[2])
            entries = [] if journal else entries
        elif kind == "W":
            files.setdefault(words[1], Known()).undo.append((int(words[2]), words[3]))
        elif kind == "R":
            entries.append((parent(words[2]), "rename", words[1], words[2]))
        elif kind == "U":
            entries.append((parent(words[1]), "unlink", words[1], words[2]))
        elif kind == "X":
            entries.append((parent(words[1]), "rmdir", words[1], None))
        elif kind == "S":
            entries = [entry for entry in entries if entry[0] != words[1] and not journal]
        elif kind == "!":
            raise parts.Failure(f"the record of writes cannot follow: {words[1:]}")
    for _, kind, name, more in reversed(entries):
        undo_entry(kind, pathlib.Path(name), more, side)
    for path in directory.rglob("*"):
        if path.is_file():
            inode = str(path.stat().st_ino)
            if inode in files:
                restore(path, files[inode], side)


def parent(path):
    return path.rsplit("/", 1)[0]


def undo_entry(kind, path, more, side):
    if kind in ("create", "mkdir"):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
    elif kind == "unlink" and not path.exists() and path.parent.exists():
        os.link(side / f"kept.{more}", path)
    elif kind == "rmdir" and not path.exists() and path.parent.exists():
        path.mkdir()
    elif kind == "rename" and pathlib.Path(more).exists():
        os.rename(more, path)


def restore(path, known, side):
    with open(path, "r+b") as file:
        for offset, name in reversed(known.undo):
            if name:
                file.seek(offset)
                file.write((side / name).read_bytes())
        file.truncate(min(known.size, path.stat().st_size))


class Image(PowerLoss):
    """An ext4 file system in a file: what the kernel has not written to it when the process is
    killed is not in the file."""

    SIZE = "1G"

    def __init__(self, folder, directory):
        super().__init__(folder, directory)
        self.image = folder / "image"
        subprocess.run(["truncate", "-s", self.SIZE, self.image], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-J", "size=16", self.image], check=True)
        self.mount()

    def mount(self):
        # Nothing is written back for a minute but what is synced; renames are not favoured.
        how = "loop,noauto_da_alloc,commit=60"
        subprocess.run(["mount", "-o", how, self.image, self.directory], check=True)

    def lose(self):
        copy = self.folder / "copy"
        subprocess.run(["cp", "--sparse=always", self.image, copy], check=True)
        subprocess.run(["umount", self.directory], check=True)
        copy.replace(self.image)
        self.mount()

    def end(self):
        subprocess.run(["umount", self.directory], check=False)
