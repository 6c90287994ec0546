/* The clients of the benchmarks.
 *
 * usage: client load [-c AT_ONCE] [-n IN_ALL] [-a ADDRESSES] [-x BYTES] [-f] PORT MESSAGE
 *        client splice PORT MESSAGE FILE
 *
 * load    connects IN_ALL times to 127.0.0.1:PORT, AT_ONCE at a time, from ADDRESSES addresses (127.0.0.2 and so on), sends
 *         MESSAGE, with FIN after it if -f is given, and reads to the end. Prints a line: responses that were complete (of BYTES
 *         bytes, or of one byte at least), and those that were reset, of another length, refused, or without a byte for 30 s.
 * splice  sends MESSAGE with FIN and moves the response to FILE by splice(2). Prints the number of its bytes.
 *
 * "\r" and "\n" in MESSAGE are understood. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES (256 << 10)
#define PIPE_BYTES (1 << 20)
#define EVENTS_MAX 256
#define SILENCE_MS 30000

static char message[4096];
static size_t message_len;
static char scratch[READ_BYTES];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void set_message(const char *text) {
    for (; *text && message_len < sizeof message; text++) {
        char c = *text;
        if (c == '\\' && (text[1] == 'r' || text[1] == 'n'))
            c = *++text == 'r' ? '\r' : '\n';
        message[message_len++] = c;
    }
}

/* A connection to 127.0.0.1, from the given address of the loopback network unless that is 0. */
static int dial(const char *port, unsigned from, int flags) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), on = 1;
    if (fd < 0)
        die("socket");
    if (from) {
        struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(from)};
        /* The port is chosen by connect(2), so that one may be in use once for each address of the other side. */
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (bind(fd, (struct sockaddr *)&own, sizeof own) != 0)
            die("bind");
    }
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

struct connection {
    int fd, is_sent;
    long long bytes;
};

struct load {
    const char *port;
    long at_once, in_all, begun, ended, complete, reset, wrong_length, refused;
    unsigned addresses;
    int with_fin, poll_fd;
    long long expected;
};

static void begin(struct load *load, struct connection *connection) {
    while (load->begun < load->in_all) {
        unsigned from = load->addresses ? 0x7f000002u + load->begun % load->addresses : 0;
        load->begun++;
        *connection = (struct connection){.fd = dial(load->port, from, SOCK_NONBLOCK)};
        if (connection->fd >= 0) {
            struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = connection};
            if (epoll_ctl(load->poll_fd, EPOLL_CTL_ADD, connection->fd, &event) != 0)
                die("epoll_ctl");
            return;
        }
        load->refused++;
        load->ended++;
    }
}

/* Returns whether the connection is over. */
static int advance(struct load *load, struct connection *connection) {
    if (!connection->is_sent) {
        ssize_t n = send(connection->fd, message, message_len, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == ENOTCONN))
            return 0;
        if (n != (ssize_t)message_len) {
            load->refused++;
            return 1;
        }
        if (load->with_fin)
            shutdown(connection->fd, SHUT_WR);
        connection->is_sent = 1;
    }
    for (;;) {
        ssize_t n = recv(connection->fd, scratch, sizeof scratch, 0);
        if (n > 0) {
            connection->bytes += n;
            continue;
        }
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n < 0)
            load->reset++;
        else if (load->expected >= 0 ? connection->bytes == load->expected : connection->bytes > 0)
            load->complete++;
        else
            load->wrong_length++;
        return 1;
    }
}

static int run_load(int argc, char **argv) {
    struct load load = {.at_once = 1, .in_all = 1, .expected = -1};
    for (int option; (option = getopt(argc, argv, "c:n:a:x:f")) != -1;) {
        switch (option) {
        case 'c': load.at_once = atol(optarg); break;
        case 'n': load.in_all = atol(optarg); break;
        case 'a': load.addresses = atoi(optarg); break;
        case 'x': load.expected = atoll(optarg); break;
        case 'f': load.with_fin = 1; break;
        default: return 2;
        }
    }
    if (argc - optind != 2)
        return 2;
    load.port = argv[optind];
    set_message(argv[optind + 1]);
    if ((load.poll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0)
        die("epoll_create1");
    struct connection *connections = calloc(load.at_once, sizeof *connections);
    for (long i = 0; i < load.at_once; i++)
        begin(&load, &connections[i]);
    while (load.ended < load.in_all) {
        struct epoll_event events[EVENTS_MAX];
        int ready = epoll_wait(load.poll_fd, events, EVENTS_MAX, SILENCE_MS);
        if (ready == 0)
            break;
        for (int i = 0; i < ready; i++) {
            struct connection *connection = events[i].data.ptr;
            if (advance(&load, connection)) {
                close(connection->fd);
                load.ended++;
                begin(&load, connection);
            }
        }
    }
    printf("complete=%ld reset=%ld wrong_length=%ld refused=%ld silent=%ld\n", load.complete, load.reset,
           load.wrong_length, load.refused, load.in_all - load.ended);
    return 0;
}

static int run_splice(int argc, char **argv) {
    if (argc != 4)
        return 2;
    set_message(argv[2]);
    int to_file = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), between[2];
    if (to_file < 0 || pipe2(between, O_CLOEXEC) != 0)
        die(argv[3]);
    /* Fails where the system's limit for users is smaller; the pipe then stays as it is. */
    fcntl(between[1], F_SETPIPE_SZ, PIPE_BYTES);
    int fd = dial(argv[1], 0, 0);
    if (fd < 0 || send(fd, message, message_len, MSG_NOSIGNAL) != (ssize_t)message_len || shutdown(fd, SHUT_WR) != 0)
        die("connect");
    long long bytes = 0;
    for (ssize_t n; (n = splice(fd, NULL, between[1], NULL, PIPE_BYTES, SPLICE_F_MOVE)) != 0;) {
        if (n < 0)
            die("splice");
        bytes += n;
        for (ssize_t left = n; left > 0;) {
            ssize_t moved = splice(between[0], NULL, to_file, NULL, left, SPLICE_F_MOVE);
            if (moved <= 0)
                die("splice");
            left -= moved;
        }
    }
    printf("%lld\n", bytes);
    return 0;
}

int main(int argc, char **argv) {
    int code = 2;
    if (argc > 1 && strcmp(argv[1], "load") == 0)
        code = run_load(argc - 1, argv + 1);
    else if (argc > 1 && strcmp(argv[1], "splice") == 0)
        code = run_splice(argc - 1, argv + 1);
    if (code == 2)
        fprintf(stderr, "the head of client.c says how to call this\n");
    return code;
}
