/* Preloaded: counts what processes change below one folder, and at the n-th change kills, or fails it.
 *
 * FAULTY_FILES names a control file, mapped by every process that has this library; tests/support/faults/faults.py
 * writes it. Counted are the changes as libc sees them: opening a file to write, writes, renames, links, fsyncs,
 * folders made, names removed. Reads of one file are counted, too, and can be made to fail: from an offset, from a number on.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NOTHING, KILL, FULL_FROM, FAIL_ONCE };

struct control {
    int64_t count;
    int64_t at;          /* number of the change, from 1 */
    int64_t action;
    int64_t error;
    int64_t process;     /* killed too; -1: the first that has this library */
    int64_t read_offset; /* reads that touch bytes from here on fail */
    int64_t first_read;  /* number of the first that may fail, from 1 */
    int64_t num_reads_to_fail;
    int64_t num_reads;
    char folder[1024];
    char read_path[1024];
    int64_t log_used;
    char log[1 << 20];
};

static struct control *control;

static void *following(const char *name) { return dlsym(RTLD_NEXT, name); }

#define FOLLOWING(name) \
    static __typeof__(&name) next; \
    if (!next) next = (__typeof__(&name))following(#name)

__attribute__((constructor)) static void map_control(void)
{
    const char *path = getenv("FAULTY_FILES");
    int number = path ? (int)((__typeof__(&open))following("open"))(path, O_RDWR | O_CLOEXEC) : -1;
    if (number < 0) return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, number, 0);
    close(number);
    if (mapped == MAP_FAILED) return;
    control = mapped;
    int64_t first = -1;
    __atomic_compare_exchange_n(&control->process, &first, getpid(), 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static int path_of(int number, char *path)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", number);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
    return length > 0;
}

static int is_watched(const char *path)
{
    size_t length = strlen(control->folder);
    return length && strncmp(path, control->folder, length) == 0;
}

/* Count a change of `path`. 0: let it happen; else the errno to fail with. A kill leaves a write half done. */
static int change(const char *what, const char *path, int takes_space, int number, const void *data, size_t size)
{
    if (!control || !is_watched(path)) return 0;
    int64_t n = __atomic_add_fetch(&control->count, 1, __ATOMIC_SEQ_CST);
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%s %s\n", what, path + strlen(control->folder));
    int64_t place = __atomic_fetch_add(&control->log_used, length, __ATOMIC_SEQ_CST);
    if (place + length < (int64_t)sizeof control->log) memcpy(control->log + place, line, length);
    if (control->action == KILL && n == control->at) {
        if (number >= 0) {
            FOLLOWING(write);
            next(number, data, size / 2);
        }
        if (control->process > 0 && control->process != getpid()) kill((pid_t)control->process, SIGKILL);
        kill(getpid(), SIGKILL);
    }
    if (control->action == FULL_FROM && n >= control->at && takes_space) return (int)control->error;
    if (control->action == FAIL_ONCE && n == control->at) return (int)control->error;
    return 0;
}

static int change_name(const char *what, int folder, const char *name, int takes_space)
{
    char path[2 * PATH_MAX];
    if (!control) return 0;
    if (name[0] == '/' || folder == AT_FDCWD || !path_of(folder, path)) return change(what, name, takes_space, -1, 0, 0);
    strncat(path, "/", 2);
    strncat(path, name, PATH_MAX - 1);
    return change(what, path, takes_space, -1, 0, 0);
}

static int change_file(const char *what, int number, int takes_space, const void *data, size_t size)
{
    char path[PATH_MAX];
    if (!control || !path_of(number, path)) return 0;
    return change(what, path, takes_space, data ? number : -1, data, size);
}

#define FAIL_WITH(call) do { int failure = (call); if (failure) { errno = failure; return -1; } } while (0)

ssize_t write(int number, const void *data, size_t size)
{
    FOLLOWING(write);
    FAIL_WITH(change_file("write", number, 1, data, size));
    return next(number, data, size);
}

ssize_t pwrite64(int number, const void *data, size_t size, off64_t offset)
{
    FOLLOWING(pwrite64);
    FAIL_WITH(change_file("pwrite", number, 1, NULL, 0));
    return next(number, data, size, offset);
}

size_t fwrite(const void *data, size_t size, size_t count, FILE *file) /* numpy's tofile; libc writes by itself */
{
    FOLLOWING(fwrite);
    int failure = change_file("fwrite", fileno(file), 1, NULL, 0);
    if (failure) { errno = failure; return 0; }
    return next(data, size, count, file);
}

int fsync(int number)
{
    FOLLOWING(fsync);
    FAIL_WITH(change_file("fsync", number, 0, NULL, 0));
    return next(number);
}

int ftruncate64(int number, off64_t size)
{
    FOLLOWING(ftruncate64);
    FAIL_WITH(change_file("ftruncate", number, 1, NULL, 0));
    return next(number, size);
}

#define OPEN(name, parameters, folder, arguments) \
    int name parameters \
    { \
        FOLLOWING(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | __O_TMPFILE)) { \
            va_list more; \
            va_start(more, flags); \
            mode = va_arg(more, mode_t); \
            va_end(more); \
        } \
        if (flags & (O_CREAT | O_TRUNC)) FAIL_WITH(change_name("open", folder, path, 1)); \
        return next arguments; \
    }
OPEN(open, (const char *path, int flags, ...), AT_FDCWD, (path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD, (path, flags, mode))
OPEN(openat, (int folder, const char *path, int flags, ...), folder, (folder, path, flags, mode))
OPEN(openat64, (int folder, const char *path, int flags, ...), folder, (folder, path, flags, mode))

int rename(const char *old, const char *new)
{
    FOLLOWING(rename);
    FAIL_WITH(change_name("rename", AT_FDCWD, new, 1));
    return next(old, new);
}

int renameat2(int old_folder, const char *old, int new_folder, const char *new, unsigned flags)
{
    FOLLOWING(renameat2);
    FAIL_WITH(change_name("exchange", new_folder, new, 0));
    return next(old_folder, old, new_folder, new, flags);
}

int link(const char *old, const char *new)
{
    FOLLOWING(link);
    FAIL_WITH(change_name("link", AT_FDCWD, new, 1));
    return next(old, new);
}

int linkat(int old_folder, const char *old, int new_folder, const char *new, int flags)
{
    FOLLOWING(linkat);
    FAIL_WITH(change_name("link", new_folder, new, 1));
    return next(old_folder, old, new_folder, new, flags);
}

int mkdir(const char *path, mode_t mode)
{
    FOLLOWING(mkdir);
    FAIL_WITH(change_name("mkdir", AT_FDCWD, path, 1));
    return next(path, mode);
}

int unlink(const char *path)
{
    FOLLOWING(unlink);
    FAIL_WITH(change_name("unlink", AT_FDCWD, path, 0));
    return next(path);
}

int unlinkat(int folder, const char *path, int flags)
{
    FOLLOWING(unlinkat);
    FAIL_WITH(change_name(flags & AT_REMOVEDIR ? "rmdir" : "unlink", folder, path, 0));
    return next(folder, path, flags);
}

int rmdir(const char *path)
{
    FOLLOWING(rmdir);
    FAIL_WITH(change_name("rmdir", AT_FDCWD, path, 0));
    return next(path);
}

static int is_failing_read(int number, off64_t offset, size_t size)
{
    char path[PATH_MAX];
    if (!control || !control->read_path[0] || !path_of(number, path) || strcmp(path, control->read_path)) return 0;
    if (__atomic_add_fetch(&control->num_reads, 1, __ATOMIC_SEQ_CST) < control->first_read) return 0;
    if (offset < 0) offset = lseek64(number, 0, SEEK_CUR);
    if (offset + (off64_t)size <= control->read_offset) return 0;
    return __atomic_fetch_sub(&control->num_reads_to_fail, 1, __ATOMIC_SEQ_CST) > 0;
}

ssize_t read(int number, void *data, size_t size)
{
    FOLLOWING(read);
    FAIL_WITH(is_failing_read(number, -1, size) ? EIO : 0);
    return next(number, data, size);
}

ssize_t pread64(int number, void *data, size_t size, off64_t offset)
{
    FOLLOWING(pread64);
    FAIL_WITH(is_failing_read(number, offset, size) ? EIO : 0);
    return next(number, data, size, offset);
}

ssize_t preadv64v2(int number, const struct iovec *parts, int num_parts, off64_t offset, int flags) /* Python's preadv */
{
    FOLLOWING(preadv64v2);
    FAIL_WITH(is_failing_read(number, offset, num_parts ? parts[0].iov_len : 0) ? EIO : 0);
    return next(number, parts, num_parts, offset, flags);
}
