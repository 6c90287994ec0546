/* The floor: a server that does next to nothing but what the kernel asks for. One thread, epoll, sendfile(2).
 *
 * usage: floor [-c] FILE...
 *
 * -c  copies files by pread(2) and write(2), instead of handing their pages out by sendfile(2). A later write to the file
 *     changes pages that were handed out, even after the reader has acknowledged them.
 *
 * Listens on a free port of 127.0.0.1 and prints it. "4:NAME" is answered with the file of that last component, "1:..."
 * with a list of three peers, and anything else with nothing; then the connection is closed. The files are opened once.
 * Ends when standard input does. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONNECTIONS_MAX 65536
#define EVENTS_MAX 256
#define SEND_BYTES_MAX (1 << 20)
#define COPY_BYTES_MAX (128 << 10)

static const char peers[] = "127.0.1.1,4001\n127.0.1.2,4001\n127.0.1.3,4001\n";

struct shared {
    const char *name;
    int fd;
    off_t size;
};

/* What a connection still has to send, by its descriptor. */
struct transfer {
    const struct shared *file;
    off_t at;
};

static struct shared *files;
static int copies, files_len, poll_fd;
static struct transfer transfers[CONNECTIONS_MAX];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void watch(int fd, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(poll_fd, operation, fd, &event) != 0)
        die("epoll_ctl");
}

static ssize_t copy(int to, int from, off_t *at) {
    static char bytes[COPY_BYTES_MAX];
    ssize_t n = pread(from, bytes, sizeof bytes, *at);
    if (n > 0 && (n = write(to, bytes, n)) > 0)
        *at += n;
    return n;
}

static void pump(int fd) {
    struct transfer *transfer = &transfers[fd];
    while (transfer->at < transfer->file->size) {
        int file = transfer->file->fd;
        ssize_t n = copies ? copy(fd, file, &transfer->at) : sendfile(fd, file, &transfer->at, SEND_BYTES_MAX);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            break;
    }
    close(fd);
}

static void answer(int fd) {
    char message[512];
    ssize_t n = read(fd, message, sizeof message - 1);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 2 && message[0] == '1') {
        if (write(fd, peers, sizeof peers - 1) < 0)
            perror("write");
    } else if (n > 2 && message[0] == '4') {
        message[n] = 0;
        message[strcspn(message, "\r\n")] = 0;
        for (int i = 0; i < files_len; i++) {
            if (strcmp(files[i].name, message + 2) == 0) {
                transfers[fd] = (struct transfer){.file = &files[i]};
                watch(fd, EPOLLOUT, EPOLL_CTL_MOD);
                pump(fd);
                return;
            }
        }
    }
    close(fd);
}

static int listen_on_free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) != 0 || listen(fd, 65535) != 0
        || getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        die("listen");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void accept_all(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (fd >= CONNECTIONS_MAX) {
            close(fd);
            continue;
        }
        transfers[fd].file = NULL;
        watch(fd, EPOLLIN, EPOLL_CTL_ADD);
    }
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "-c") == 0) {
        copies = 1;
        argc--;
        argv++;
    }
    files_len = argc - 1;
    files = calloc(argc, sizeof *files);
    for (int i = 0; i < files_len; i++) {
        struct stat found;
        const char *slash = strrchr(argv[i + 1], '/');
        int fd = open(argv[i + 1], O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &found) != 0)
            die(argv[i + 1]);
        files[i] = (struct shared){.name = slash ? slash + 1 : argv[i + 1], .fd = fd, .size = found.st_size};
    }
    if ((poll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0)
        die("epoll_create1");
    int listener = listen_on_free_port();
    watch(listener, EPOLLIN, EPOLL_CTL_ADD);
    watch(0, EPOLLIN | EPOLLHUP, EPOLL_CTL_ADD);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int ready = epoll_wait(poll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == 0)
                return 0;
            if (fd == listener)
                accept_all(listener);
            else if (transfers[fd].file)
                pump(fd);
            else
                answer(fd);
        }
    }
}
