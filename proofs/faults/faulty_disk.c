/* A disk that fails, for one folder: a library for LD_PRELOAD.

   FAULTY_DISK names the folder. FAULTY_DISK_SWITCH names a file of six 32-bit integers: the error numbers of reads,
   writes, syncs and truncations, 0 for none, and how many of 1,000 calls fail. The file may change at any time. The last
   number is the library's: how many calls have failed. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

enum operation { READ, WRITE, SYNC, TRUNCATE, SHARE, FAILED, NUMBERS };

static volatile int32_t *settings;
static const char *folder;

__attribute__((constructor)) static void set_up(void)
{
    const char *name = getenv("FAULTY_DISK_SWITCH");
    folder = getenv("FAULTY_DISK");
    if (name == NULL || folder == NULL)
        return;
    int file = open(name, O_RDWR);
    if (file < 0)
        return;
    void *mapped = mmap(NULL, NUMBERS * sizeof(int32_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        settings = mapped;
}

static int is_inside(int file)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strncmp(path, folder, strlen(folder)) == 0;
}

static int fails(int file, enum operation operation)
{
    if (settings == NULL || settings[operation] == 0)
        return 0;
    if (random() % 1000 >= settings[SHARE] || !is_inside(file))
        return 0;
    __sync_fetch_and_add(&settings[FAILED], 1);
    errno = settings[operation];
    return 1;
}

#define NEXT(name) \
    static __typeof__(name) *next; \
    if (next == NULL) \
        next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define OF_READ(name, offset_type) \
    ssize_t name(int file, void *bytes, size_t count, offset_type offset) \
    { \
        NEXT(name); \
        return fails(file, READ) ? -1 : next(file, bytes, count, offset); \
    }

/* Half of the bytes arrive, as on a disk that fills up or fails in the middle. */
#define OF_WRITE(name, offset_type) \
    ssize_t name(int file, const void *bytes, size_t count, offset_type offset) \
    { \
        NEXT(name); \
        if (!fails(file, WRITE)) \
            return next(file, bytes, count, offset); \
        int error = errno; \
        if (count > 1) \
            next(file, bytes, count / 2, offset); \
        errno = error; \
        return -1; \
    }

#define OF_SYNC(name) \
    int name(int file) \
    { \
        NEXT(name); \
        return fails(file, SYNC) ? -1 : next(file); \
    }

#define OF_TRUNCATE(name, offset_type) \
    int name(int file, offset_type length) \
    { \
        NEXT(name); \
        return fails(file, TRUNCATE) ? -1 : next(file, length); \
    }

OF_READ(pread, off_t)
OF_READ(pread64, off64_t)
OF_WRITE(pwrite, off_t)
OF_WRITE(pwrite64, off64_t)
OF_SYNC(fsync)
OF_SYNC(fdatasync)
OF_TRUNCATE(ftruncate, off_t)
OF_TRUNCATE(ftruncate64, off64_t)
