/*
 * Ends the process at the n-th call that changes a file below a folder.
 *
 *     HEARTWOOD_CRASH_AT=n HEARTWOOD_CRASH_BELOW=/folder LD_PRELOAD=crash-shim.so node ...
 *
 * The process ends before the call; with HEARTWOOD_CRASH_HALF=1 a write is first done up to its middle.
 * With HEARTWOOD_CRASH_AT=0 nothing ends: at its exit the process writes the number of calls to descriptor 2.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls;
static long crash_at;
static int half;
static const char *below;
static size_t below_length;

__attribute__((constructor)) static void begin(void) {
  const char *at = getenv("HEARTWOOD_CRASH_AT");
  crash_at = at ? atol(at) : -1;
  half = getenv("HEARTWOOD_CRASH_HALF") != NULL;
  below = getenv("HEARTWOOD_CRASH_BELOW");
  below_length = below ? strlen(below) : 0;
}

__attribute__((destructor)) static void end(void) {
  if (crash_at == 0) dprintf(2, "calls %ld\n", (long)calls);
}

static int path_counts(const char *path) { return below && strncmp(path, below, below_length) == 0; }

static int file_counts(int fd) {
  char name[64], path[PATH_MAX];
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(name, path, sizeof path - 1);
  if (length <= 0) return 0;
  path[length] = 0;
  return path_counts(path);
}

/* True when this is the call to end at. */
static int is_last(int counts) { return counts && atomic_fetch_add(&calls, 1) + 1 == crash_at; }

static void die(void) {
  /* All threads at once: none of them gets a further call done. */
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define CHANGES(name, counts, arguments, values) \
  int name arguments {                           \
    REAL(name);                                  \
    if (is_last(counts)) die();                  \
    return real values;                          \
  }

CHANGES(fsync, file_counts(fd), (int fd), (fd))
CHANGES(fdatasync, file_counts(fd), (int fd), (fd))
CHANGES(ftruncate, file_counts(fd), (int fd, off_t length), (fd, length))
CHANGES(ftruncate64, file_counts(fd), (int fd, off64_t length), (fd, length))
CHANGES(fallocate, file_counts(fd), (int fd, int mode, off_t at, off_t length), (fd, mode, at, length))
CHANGES(fallocate64, file_counts(fd), (int fd, int mode, off64_t at, off64_t length), (fd, mode, at, length))
CHANGES(rename, path_counts(to), (const char *from, const char *to), (from, to))
CHANGES(renameat, path_counts(to), (int a, const char *from, int b, const char *to), (a, from, b, to))
CHANGES(renameat2, path_counts(to), (int a, const char *from, int b, const char *to, unsigned f), (a, from, b, to, f))
CHANGES(link, path_counts(to), (const char *from, const char *to), (from, to))
CHANGES(unlink, path_counts(path), (const char *path), (path))
CHANGES(unlinkat, path_counts(path), (int at, const char *path, int flags), (at, path, flags))
CHANGES(rmdir, path_counts(path), (const char *path), (path))
CHANGES(mkdir, path_counts(path), (const char *path, mode_t mode), (path, mode))

ssize_t write(int fd, const void *bytes, size_t size) {
  REAL(write);
  if (is_last(file_counts(fd))) {
    if (half) real(fd, bytes, size / 2);
    die();
  }
  return real(fd, bytes, size);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
  REAL(pwrite64);
  if (is_last(file_counts(fd))) {
    if (half) real(fd, bytes, size / 2, at);
    die();
  }
  return real(fd, bytes, size, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) { return pwrite64(fd, bytes, size, at); }

/* Of several pieces, the first ones are half. */
ssize_t writev(int fd, const struct iovec *pieces, int count) {
  REAL(writev);
  if (is_last(file_counts(fd))) {
    if (half) real(fd, pieces, (count + 1) / 2);
    die();
  }
  return real(fd, pieces, count);
}

ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off64_t at) {
  REAL(pwritev64);
  if (is_last(file_counts(fd))) {
    if (half) real(fd, pieces, (count + 1) / 2, at);
    die();
  }
  return real(fd, pieces, count, at);
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t at) { return pwritev64(fd, pieces, count, at); }

ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t size, unsigned flags) {
  REAL(copy_file_range);
  if (is_last(file_counts(to))) die();
  return real(from, a, to, b, size, flags);
}

#define OPENS(name)                                                              \
  int name(const char *path, int flags, ...) {                                   \
    REAL(name);                                                                  \
    va_list rest;                                                                \
    va_start(rest, flags);                                                       \
    mode_t mode = va_arg(rest, mode_t);                                          \
    va_end(rest);                                                                \
    if (is_last((flags & (O_CREAT | O_TRUNC)) != 0 && path_counts(path))) die(); \
    return real(path, flags, mode);                                              \
  }

OPENS(open)
OPENS(open64)
