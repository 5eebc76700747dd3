/* Stands between a process and its C library: names that a test answers, connections that it notes
   and keeps on loopback, randomness that it withholds, a day that it sets. Loaded with LD_PRELOAD by
   interposer.py. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_NAMES 512
#define MAX_LINE 1024

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    char name[256];
    int times;
} asked[MAX_NAMES];

static void path_of(char *path, size_t length, const char *file) {
    const char *folder = getenv("INTERPOSER_FOLDER");
    snprintf(path, length, "%s/%s", folder ? folder : "/nonexistent", file);
}

/* How often this process has asked for a name before. */
static int times_asked(const char *name) {
    int times = 0;
    pthread_mutex_lock(&lock);
    for (int place = 0; place < MAX_NAMES; place++) {
        if (asked[place].name[0] == 0)
            snprintf(asked[place].name, sizeof asked[place].name, "%s", name);
        if (strcmp(asked[place].name, name) == 0) {
            times = asked[place].times++;
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    return times;
}

/* The addresses that the test gives for a name this time, with commas between; 0 if none. */
static int answer_for(const char *name, char *answer) {
    char path[MAX_LINE], line[MAX_LINE];
    path_of(path, sizeof path, "names");
    FILE *file = fopen(path, "re");
    int found = 0;
    while (file && !found && fgets(line, sizeof line, file)) {
        char *rest = NULL, *word = strtok_r(line, " \n", &rest);
        if (!word || strcasecmp(word, name) != 0)
            continue;
        int left = times_asked(name);
        for (char *next = strtok_r(NULL, " \n", &rest); next; next = strtok_r(NULL, " \n", &rest)) {
            strcpy(answer, next);
            found = 1;
            if (left-- == 0)
                break;
        }
    }
    if (file)
        fclose(file);
    return found;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    struct in6_addr v6;
    struct in_addr v4;
    char answer[MAX_LINE], *rest = NULL;
    if (!name || inet_pton(AF_INET6, name, &v6) == 1 || inet_aton(name, &v4) == 1 ||
        strncasecmp(name, "localhost", 9) == 0)
        return real(name, service, hints, found);
    if (!answer_for(name, answer))
        return EAI_NONAME;
    *found = NULL;
    struct addrinfo **end = found;
    for (char *one = strtok_r(answer, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
        if (real(one, service, hints, end) != 0)
            return EAI_NONAME;
        while (*end)
            end = &(*end)->ai_next;
    }
    return 0;
}

static int is_loopback(const char *address) {
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0 ||
           strncmp(address, "::ffff:127.", 11) == 0;
}

int connect(int socket, const struct sockaddr *to, socklen_t length) {
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    char address[INET6_ADDRSTRLEN] = "", path[MAX_LINE], line[MAX_LINE];
    int port = 0;
    if (to->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)to;
        inet_ntop(AF_INET, &v4->sin_addr, address, sizeof address);
        port = ntohs(v4->sin_port);
    } else if (to->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)to;
        inet_ntop(AF_INET6, &v6->sin6_addr, address, sizeof address);
        port = ntohs(v6->sin6_port);
    } else {
        return real(socket, to, length);
    }
    path_of(path, sizeof path, "connections");
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file >= 0) {
        int size = snprintf(line, sizeof line, "%s %d\n", address, port);
        if (write(file, line, (size_t)size) != size)
            abort(); /* What is not noted would be taken for what was not done. */
        close(file);
    }
    if (is_loopback(address))
        return real(socket, to, length);
    errno = ENETUNREACH;
    return -1;
}

ssize_t getrandom(void *into, size_t length, unsigned int flags) {
    ssize_t (*real)(void *, size_t, unsigned int) = dlsym(RTLD_NEXT, "getrandom");
    char path[MAX_LINE];
    path_of(path, sizeof path, "no-randomness");
    if (access(path, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return real(into, length, flags);
}

/* How many milliseconds the day is ahead of the machine's, where the test can change it. */
static const volatile int64_t *ahead_ms;

__attribute__((constructor)) static void find_day(void) {
    char path[MAX_LINE];
    path_of(path, sizeof path, "day");
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    void *found = mmap(NULL, sizeof *ahead_ms, PROT_READ, MAP_SHARED, file, 0);
    if (found != MAP_FAILED)
        ahead_ms = found;
    close(file);
}

/* The day alone: steady clocks go on, as those of a machine do whose day is set. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (failed || clock != CLOCK_REALTIME || !ahead_ms)
        return failed;
    int64_t since_ms = (int64_t)now->tv_sec * 1000 + now->tv_nsec / 1000000 + *ahead_ms;
    now->tv_sec = since_ms / 1000;
    now->tv_nsec = since_ms % 1000 * 1000000 + now->tv_nsec % 1000000;
    return 0;
}
