/*
 * A bare UDP echo: `echo THREADS REPLY_BYTES [ADDRESS]`, on loopback if no address is given. A socket with SO_REUSEPORT and a core for each thread, batched
 * receive and send, nothing else. Every datagram is answered with its own bytes, cut or stretched to REPLY_BYTES.
 * Prints `ready PORT`.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BATCH 64
#define BUFFER 2048

static unsigned reply_bytes;

static int open_socket(struct sockaddr_in *address)
{
    int on = 1, room = 4 << 20;
    socklen_t size = sizeof *address;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (bind(fd, (struct sockaddr *)address, sizeof *address) != 0)
        return -1;
    return getsockname(fd, (struct sockaddr *)address, &size) == 0 ? fd : -1;
}

/* Binds the calling thread to the index-th core that it may use. */
static void pin(int index)
{
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    index %= CPU_COUNT(&allowed);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed) && index-- == 0) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof one, &one);
        }
    }
}

struct job {
    pthread_t thread;
    int fd;
    int index;
};

static void *serve(void *argument)
{
    struct job *job = argument;
    static _Thread_local uint8_t buffers[BATCH][BUFFER];
    struct sockaddr_in peers[BATCH];
    struct iovec in[BATCH], out[BATCH];
    struct mmsghdr receive[BATCH], send[BATCH];

    pin(job->index);
    memset(receive, 0, sizeof receive);
    memset(send, 0, sizeof send);
    for (int i = 0; i < BATCH; i++) {
        in[i] = (struct iovec){ buffers[i], BUFFER };
        out[i] = (struct iovec){ buffers[i], reply_bytes };
        receive[i].msg_hdr = (struct msghdr){
            .msg_name = &peers[i], .msg_namelen = sizeof peers[i], .msg_iov = &in[i], .msg_iovlen = 1
        };
        send[i].msg_hdr = receive[i].msg_hdr;
        send[i].msg_hdr.msg_iov = &out[i];
    }
    for (;;) {
        int count = recvmmsg(job->fd, receive, BATCH, MSG_WAITFORONE, NULL);
        for (int sent = 0; sent < count;) {
            int more = sendmmsg(job->fd, send + sent, (unsigned)(count - sent), 0);
            sent += more > 0 ? more : 1;
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (argc != 3 && argc != 4)
        return 2;
    if (argc == 4 && inet_pton(AF_INET, argv[3], &address.sin_addr) != 1)
        return 2;
    int threads = atoi(argv[1]);
    reply_bytes = (unsigned)atoi(argv[2]);
    if (threads < 1 || reply_bytes > BUFFER)
        return 2;
    struct job *jobs = calloc((size_t)threads, sizeof *jobs);
    if (!jobs)
        return 3;
    for (int i = 0; i < threads; i++) {
        jobs[i].index = i;
        jobs[i].fd = open_socket(&address);
        if (jobs[i].fd < 0) {
            perror("echo");
            return 3;
        }
    }
    for (int i = 0; i < threads; i++)
        if (pthread_create(&jobs[i].thread, NULL, serve, &jobs[i]) != 0)
            return 3;
    printf("ready %s:%d\n", inet_ntoa(address.sin_addr), ntohs(address.sin_port));
    fflush(stdout);
    for (int i = 0; i < threads; i++)
        pthread_join(jobs[i].thread, NULL);
    return 0;
}
