/* Keeps a record, beside the files, of what has been synced of each and what would be lost with the
 * power. Loaded into the daemon by LD_PRELOAD; tests/proof/power.py cuts the files back by it after
 * a kill.
 *
 *   POWER_DIRECTORY  what is watched: regular files and directories below it
 *   POWER_SIDE       where the record is kept: `log`, `kept.INODE` (hard links to what was
 *                    unlinked), `old.N` (bytes as they were before something was written over them)
 *
 * The log, a line an event, its words separated by tabs:
 *   C PATH INODE            created, empty                   D PATH   directory created
 *   O INODE SIZE            opened, was there before
 *   W INODE OFFSET OLD      bytes before the end of the file are about to be written over or cut off
 *   B INODE SIZE NUMBER     a sync begins                    F INODE NUMBER   it has succeeded
 *   S PATH                  a directory was synced
 *   R OLD NEW               renamed    U PATH INODE   unlinked    X PATH   directory removed
 *   ! WHAT                  something that this cannot follow
 *
 * The strictest reading of POSIX: a new name lasts only once its directory was synced, and what was
 * not synced is lost altogether. Writes that were not synced could survive in part as well; cutting
 * all of them is the harder case for what was acknowledged.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char watched[PATH_MAX];
static char side[PATH_MAX];
static int log_fd = -1;
static atomic_long number;

#define REAL(name)                                                                                 \
    static __typeof__(&name) real;                                                                 \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    const char *directory = getenv("POWER_DIRECTORY"), *folder = getenv("POWER_SIDE");
    if (!directory || !folder) return;
    snprintf(watched, sizeof watched, "%s", directory);
    snprintf(side, sizeof side, "%s", folder);
    char path[PATH_MAX + 8];
    snprintf(path, sizeof path, "%s/log", side);
    log_fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
    char line[2 * PATH_MAX + 64];
    va_list list;
    va_start(list, format);
    int length = vsnprintf(line, sizeof line, format, list);
    va_end(list);
    /* One write, so that lines of several threads do not mix; the kernel has it when we die. */
    if (syscall(SYS_write, log_fd, line, (size_t)length) != length) abort();
}

static int below(const char *path) {
    size_t length = strlen(watched);
    return log_fd >= 0 && length && !strncmp(path, watched, length) &&
           (path[length] == '/' || path[length] == 0);
}

/* The absolute path of an open descriptor, if it is watched. */
static int path_of(int fd, char *path) {
    if (log_fd < 0) return 0;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return below(path);
}

/* The same for a path as it was given; its last part need not exist. */
static int path_at(int directory, const char *given, char *path) {
    if (log_fd < 0 || !given) return 0;
    if (given[0] == '/') {
        snprintf(path, PATH_MAX, "%s", given);
    } else {
        char base[PATH_MAX];
        char link[64];
        snprintf(link, sizeof link, directory == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d",
                 directory);
        ssize_t length = readlink(link, base, sizeof base - 1);
        if (length <= 0) return 0;
        base[length] = 0;
        if (snprintf(path, PATH_MAX, "%s/%s", base, given) >= PATH_MAX) return 0;
    }
    return below(path);
}

/* A regular, watched file. */
static int file_of(int fd, struct stat *found) {
    char path[PATH_MAX];
    return log_fd >= 0 && fd >= 0 && !fstat(fd, found) && S_ISREG(found->st_mode) &&
           path_of(fd, path);
}

/* Keeps what lies in [offset, offset + length) before it is changed. */
static void keep(int fd, long own, off_t offset, off_t length) {
    char name[PATH_MAX + 64], link[64];
    snprintf(name, sizeof name, "%s/old.%d.%ld", side, getpid(), own);
    /* What is written to need not be open for reading. */
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int from = syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
    int to = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (from < 0 || to < 0) abort();
    char buffer[1 << 16];
    while (length > 0) {
        size_t some = length < (off_t)sizeof buffer ? (size_t)length : sizeof buffer;
        ssize_t had = syscall(SYS_pread64, from, buffer, some, offset);
        if (had <= 0) break;
        if (syscall(SYS_write, to, buffer, (size_t)had) != had) abort();
        offset += had;
        length -= had;
    }
    syscall(SYS_close, from);
    syscall(SYS_close, to);
}

static void before_change(int fd, const struct stat *found, off_t offset, off_t end) {
    if (end > found->st_size) end = found->st_size;
    if (offset >= end) return;
    long own = atomic_fetch_add(&number, 1);
    keep(fd, own, offset, end - offset);
    say("W\t%lu\t%ld\told.%d.%ld\n", (unsigned long)found->st_ino, (long)offset, getpid(), own);
}

static off_t position(int fd, const struct stat *found) {
    int flags = fcntl(fd, F_GETFL);
    return flags & O_APPEND ? found->st_size : lseek(fd, 0, SEEK_CUR);
}

/* ---- opening ---- */

static int opened(int fd, const char *path, int existed) {
    struct stat found;
    if (fd < 0 || fstat(fd, &found) || !S_ISREG(found.st_mode)) return fd;
    if (existed)
        say("O\t%lu\t%ld\n", (unsigned long)found.st_ino, (long)found.st_size);
    else
        say("C\t%s\t%lu\n", path, (unsigned long)found.st_ino);
    return fd;
}

static int open_watched(int directory, const char *given, int flags, mode_t mode) {
    char path[PATH_MAX];
    if (!path_at(directory, given, path))
        return (int)syscall(SYS_openat, directory, given, flags, mode);
    struct stat before;
    int existed = !stat(path, &before);
    if (existed && flags & O_TRUNC && S_ISREG(before.st_mode) && before.st_size) {
        int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
        if (fd >= 0) before_change(fd, &before, 0, before.st_size);
        syscall(SYS_close, fd);
    }
    int fd = (int)syscall(SYS_openat, directory, given, flags, mode);
    return opened(fd, path, existed);
}

#define MODE_OF(flags)                                                                             \
    mode_t mode = 0;                                                                               \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                       \
        va_list list;                                                                              \
        va_start(list, flags);                                                                     \
        mode = va_arg(list, mode_t);                                                               \
        va_end(list);                                                                              \
    }

int open(const char *path, int flags, ...) {
    MODE_OF(flags)
    return open_watched(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    MODE_OF(flags)
    return open_watched(AT_FDCWD, path, flags, mode);
}
int openat(int directory, const char *path, int flags, ...) {
    MODE_OF(flags)
    return open_watched(directory, path, flags, mode);
}
int openat64(int directory, const char *path, int flags, ...) {
    MODE_OF(flags)
    return open_watched(directory, path, flags, mode);
}

/* ---- writing ---- */

static size_t length_of(const struct iovec *parts, int count) {
    size_t length = 0;
    for (int at = 0; at < count; at++) length += parts[at].iov_len;
    return length;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    REAL(write);
    struct stat found;
    if (file_of(fd, &found)) {
        off_t offset = position(fd, &found);
        before_change(fd, &found, offset, offset + (off_t)length);
    }
    return real(fd, bytes, length);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    struct stat found;
    if (file_of(fd, &found)) {
        off_t offset = position(fd, &found);
        before_change(fd, &found, offset, offset + (off_t)length_of(parts, count));
    }
    return real(fd, parts, count);
}
#define PWRITE(name)                                                                               \
    ssize_t name(int fd, const void *bytes, size_t length, off_t offset) {                         \
        REAL(name);                                                                                \
        struct stat found;                                                                         \
        if (file_of(fd, &found)) before_change(fd, &found, offset, offset + (off_t)length);        \
        return real(fd, bytes, length, offset);                                                    \
    }
PWRITE(pwrite)
PWRITE(pwrite64)
#define PWRITEV(name)                                                                              \
    ssize_t name(int fd, const struct iovec *parts, int count, off_t offset) {                     \
        REAL(name);                                                                                \
        struct stat found;                                                                         \
        if (file_of(fd, &found))                                                                   \
            before_change(fd, &found, offset, offset + (off_t)length_of(parts, count));            \
        return real(fd, parts, count, offset);                                                     \
    }
PWRITEV(pwritev)
PWRITEV(pwritev64)
#define TRUNCATE(name)                                                                             \
    int name(int fd, off_t length) {                                                               \
        REAL(name);                                                                                \
        struct stat found;                                                                         \
        if (file_of(fd, &found)) before_change(fd, &found, length, found.st_size);                 \
        return real(fd, length);                                                                   \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

/* ---- syncing ---- */

static int sync_by(int (*real)(int), int fd) {
    char path[PATH_MAX];
    struct stat found;
    if (!path_of(fd, path) || fstat(fd, &found)) return real(fd);
    long own = atomic_fetch_add(&number, 1);
    if (S_ISREG(found.st_mode))
        say("B\t%lu\t%ld\t%d.%ld\n", (unsigned long)found.st_ino, (long)found.st_size, getpid(),
            own);
    int answer = real(fd);
    if (answer == 0 && S_ISREG(found.st_mode))
        say("F\t%lu\t%d.%ld\n", (unsigned long)found.st_ino, getpid(), own);
    else if (answer == 0 && S_ISDIR(found.st_mode))
        say("S\t%s\n", path);
    return answer;
}
int fsync(int fd) {
    REAL(fsync);
    return sync_by(real, fd);
}
int fdatasync(int fd) {
    REAL(fdatasync);
    return sync_by(real, fd);
}
int syncfs(int fd) {
    REAL(syncfs);
    say("!\tsyncfs\n");
    return real(fd);
}

/* ---- names ---- */

static void keep_name(const char *path) {
    struct stat found;
    if (stat(path, &found)) return;
    char kept[PATH_MAX + 64];
    snprintf(kept, sizeof kept, "%s/kept.%lu", side, (unsigned long)found.st_ino);
    if (link(path, kept) && errno != EEXIST) say("!\tlink %s\n", path);
    say("U\t%s\t%lu\n", path, (unsigned long)found.st_ino);
}

static int rename_by(int from_directory, const char *from, int to_directory, const char *to) {
    char old[PATH_MAX], new[PATH_MAX];
    int watch = path_at(from_directory, from, old);
    if (path_at(to_directory, to, new) != watch) say("!\trename across %s %s\n", from, to);
    struct stat found;
    if (watch && !stat(new, &found) && S_ISREG(found.st_mode)) keep_name(new);
    int answer = (int)syscall(SYS_renameat, from_directory, from, to_directory, to);
    if (watch && answer == 0) say("R\t%s\t%s\n", old, new);
    return answer;
}
int rename(const char *from, const char *to) { return rename_by(AT_FDCWD, from, AT_FDCWD, to); }
int renameat(int a, const char *from, int b, const char *to) { return rename_by(a, from, b, to); }

int unlinkat(int directory, const char *given, int flags) {
    REAL(unlinkat);
    char path[PATH_MAX];
    int watch = path_at(directory, given, path);
    if (watch && !(flags & AT_REMOVEDIR)) keep_name(path);
    int answer = real(directory, given, flags);
    if (watch && answer == 0 && flags & AT_REMOVEDIR) say("X\t%s\n", path);
    return answer;
}
int unlink(const char *given) { return unlinkat(AT_FDCWD, given, 0); }
int rmdir(const char *given) { return unlinkat(AT_FDCWD, given, AT_REMOVEDIR); }

int mkdir(const char *given, mode_t mode) {
    REAL(mkdir);
    char path[PATH_MAX];
    int answer = real(given, mode);
    if (answer == 0 && path_at(AT_FDCWD, given, path)) say("D\t%s\n", path);
    return answer;
}

/* ---- what is not followed ---- */

void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset) {
    REAL(mmap);
    struct stat found;
    if (protection & PROT_WRITE && flags & MAP_SHARED && !(flags & MAP_ANONYMOUS) &&
        file_of(fd, &found))
        say("!\tmmap\n");
    return real(at, length, protection, flags, fd, offset);
}
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t length, unsigned flags) {
    REAL(copy_file_range);
    struct stat found;
    if (file_of(out, &found)) say("!\tcopy_file_range\n");
    return real(in, from, out, to, length, flags);
}
