/* The floor: what a relay of MQTT messages costs when it does nothing else. `swellmq bench load --brokers floor` builds
 * and runs it: floor PORT.
 *
 * It answers CONNECT, SUBSCRIBE and PINGREQ without looking, matches exact topic names only, and forwards PUBLISH at
 * QoS 0 and QoS 1 of MQTT 3.1.1. No sessions, no wildcards, no checks, no limits, no timeouts. Like the broker it works
 * in turns: it reads all that is ready, copies each message into the buffers of its subscribers, and writes each buffer
 * once. A buffer grows for as long as its reader is slow; a malformed packet ends the process.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 65536, EVENTS = 512, BUCKETS = 65536, DESCRIPTORS = 1 << 20 };

typedef struct {
    int fd, armed, dirty, open;
    unsigned short identifier; /* of the last message sent at QoS 1 */
    unsigned char *in, *out;   /* in: the start of a packet */
    size_t in_bytes, in_room, out_begin, out_end, out_room;
} Connection;

typedef struct Topic {
    struct Topic *next;
    size_t bytes, subscribers, room;
    Connection **subscriber;
    unsigned char name[];
} Topic;

static int epoll_fd;
static Connection **by_fd;
static Topic *topics[BUCKETS];
static Connection **dirty; /* have something to write */
static size_t dirty_count;

static void fail(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *grow(void *memory, size_t bytes) {
    memory = realloc(memory, bytes);
    if (!memory) fail("memory");
    return memory;
}

static Topic *find_topic(const unsigned char *name, size_t bytes, int make) {
    unsigned hash = 2166136261u;
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ name[i]) * 16777619u;
    Topic **at = &topics[hash % BUCKETS];
    for (Topic *topic = *at; topic; topic = topic->next)
        if (topic->bytes == bytes && !memcmp(topic->name, name, bytes)) return topic;
    if (!make) return NULL;
    Topic *made = calloc(1, sizeof *made + bytes);
    if (!made) fail("memory");
    made->bytes = bytes;
    memcpy(made->name, name, bytes);
    made->next = *at;
    return *at = made;
}

/* Room for so many bytes at the end of what is to be written; they will be. */
static unsigned char *reserve(Connection *c, size_t bytes) {
    if (c->out_begin == c->out_end) c->out_begin = c->out_end = 0;
    if (c->out_end + bytes > c->out_room) {
        if (c->out_begin > c->out_room / 2) { /* seldom enough that it costs nothing */
            memmove(c->out, c->out + c->out_begin, c->out_end - c->out_begin);
            c->out_end -= c->out_begin;
            c->out_begin = 0;
        }
        while (c->out_end + bytes > c->out_room) c->out_room = c->out_room ? c->out_room * 2 : 4096;
        c->out = grow(c->out, c->out_room);
    }
    if (!c->dirty) {
        c->dirty = 1;
        dirty[dirty_count++] = c;
    }
    unsigned char *at = c->out + c->out_end;
    c->out_end += bytes;
    return at;
}

static void send_bytes(Connection *c, const void *bytes, size_t count) { memcpy(reserve(c, count), bytes, count); }

static void subscribe(Connection *c, const unsigned char *body, size_t bytes) {
    unsigned char answer[4 + 128] = {0x90, 2, body[0], body[1]};
    for (size_t pos = 2; pos + 2 < bytes && answer[1] < 127;) {
        size_t length = (size_t)body[pos] << 8 | body[pos + 1];
        Topic *topic = find_topic(body + pos + 2, length, 1);
        if (topic->subscribers == topic->room) {
            topic->room = topic->room ? topic->room * 2 : 4;
            topic->subscriber = grow(topic->subscriber, topic->room * sizeof *topic->subscriber);
        }
        topic->subscriber[topic->subscribers++] = c;
        answer[2 + answer[1]++] = body[pos + 2 + length] & 1;
        pos += 2 + length + 1;
    }
    send_bytes(c, answer, 2 + (size_t)answer[1]);
}

/* A whole PUBLISH; `body` is behind its remaining length. QoS 1 goes on at QoS 1, so that its layout stays the same. */
static void publish(Connection *c, unsigned char *frame, size_t bytes, unsigned char *body) {
    size_t name_bytes = (size_t)body[0] << 8 | body[1];
    unsigned char *identifier = body + 2 + name_bytes;
    int qos = frame[0] >> 1 & 3;
    Topic *topic = find_topic(body + 2, name_bytes, 0);
    if (topic)
        for (size_t i = 0; i < topic->subscribers; i++) {
            Connection *to = topic->subscriber[i];
            if (!to->open) { /* forget it, and look at the one that takes its place */
                topic->subscriber[i--] = topic->subscriber[--topic->subscribers];
                continue;
            }
            unsigned char *copy = memcpy(reserve(to, bytes), frame, bytes);
            if (qos) {
                if (!++to->identifier) to->identifier = 1;
                copy[identifier - frame] = to->identifier >> 8;
                copy[identifier - frame + 1] = to->identifier & 255;
            }
        }
    if (qos) send_bytes(c, (unsigned char[]){0x40, 2, identifier[0], identifier[1]}, 4);
}

/* Go through the packets that are complete; returns how many bytes they had. */
static size_t packets(Connection *c, unsigned char *data, size_t bytes) {
    size_t pos = 0;
    while (bytes - pos >= 2) {
        size_t length = 0, head = 1;
        int shift = 0;
        do {
            if (pos + head == bytes) return pos;
            length |= (size_t)(data[pos + head] & 127) << shift;
            shift += 7;
        } while (data[pos + head++] & 128 && head < 5);
        if (bytes - pos < head + length) return pos;
        unsigned char *frame = data + pos, *body = frame + head;
        switch (frame[0] >> 4) {
        case 1: send_bytes(c, "\x20\x02\0\0", 4); break;
        case 3: publish(c, frame, head + length, body); break;
        case 4: break; /* PUBACK */
        case 8: subscribe(c, body, length); break;
        case 12: send_bytes(c, "\xd0", 2); break;
        default: errno = EPROTO; fail("packet");
        }
        pos += head + length;
    }
    return pos;
}

static void arm(Connection *c, int output) {
    struct epoll_event event = {.events = EPOLLIN | (output ? EPOLLOUT : 0), .data.fd = c->fd};
    if (output != c->armed && epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event)) fail("epoll_ctl");
    c->armed = output;
}

static void flush(Connection *c) {
    ssize_t written = write(c->fd, c->out + c->out_begin, c->out_end - c->out_begin);
    if (written > 0) c->out_begin += (size_t)written;
    if (written < 0 && errno != EAGAIN) c->out_begin = c->out_end; /* it is gone; the next read says so */
    arm(c, c->out_begin < c->out_end);
}

/* Its subscriptions are forgotten by the next message for each. */
static void end(Connection *c) {
    close(c->fd);
    by_fd[c->fd] = NULL;
    c->open = 0;
}

static void receive(Connection *c) {
    static unsigned char data[READ_BYTES];
    ssize_t got = read(c->fd, data, sizeof data);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        end(c);
        return;
    }
    unsigned char *from = data;
    size_t bytes = (size_t)got;
    if (c->in_bytes) {
        if (c->in_bytes + bytes > c->in_room) c->in = grow(c->in, c->in_room = (c->in_bytes + bytes) * 2);
        memcpy(c->in + c->in_bytes, data, bytes);
        bytes += c->in_bytes;
        from = c->in;
    }
    size_t done = packets(c, from, bytes);
    c->in_bytes = bytes - done;
    if (c->in_bytes) {
        if (c->in_bytes > c->in_room) c->in = grow(c->in, c->in_room = c->in_bytes * 2);
        memmove(c->in, from + done, c->in_bytes);
    }
}

static void welcome(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= DESCRIPTORS) exit(1);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        Connection *c = calloc(1, sizeof *c);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (!c || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event)) fail("connection");
        c->fd = fd;
        c->open = 1;
        by_fd[fd] = c;
    }
}

int main(int count, char **words) {
    if (count != 2) return fprintf(stderr, "usage: floor PORT\n"), 2;
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(words[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) fail("listen");
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    by_fd = calloc(DESCRIPTORS, sizeof *by_fd);
    dirty = calloc(DESCRIPTORS, sizeof *dirty);
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN, .data.fd = listener};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) || !by_fd || !dirty) fail("start");
    for (;;) {
        int ready = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                welcome(listener);
                continue;
            }
            Connection *c = by_fd[fd];
            if (c && events[i].events & EPOLLOUT) flush(c);
            if (c && events[i].events & ~(unsigned)EPOLLOUT) receive(c);
        }
        for (size_t i = 0; i < dirty_count; i++) {
            dirty[i]->dirty = 0;
            if (dirty[i]->open && !dirty[i]->armed) flush(dirty[i]);
        }
        dirty_count = 0;
    }
}
