/*
 * Many requests in flight: `flood ADDRESS PORT MILLISECONDS < REQUEST`. Sends batches of the bytes of stdin and takes
 * the answers of each before the next. Prints `ANSWERED LOST`: a request is lost that got no answer within 20 ms.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define BATCH 32
#define BUFFER 2048

static long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

int main(int argc, char **argv)
{
    static char request[BUFFER], replies[BATCH][BUFFER];
    static struct mmsghdr out[BATCH], in[BATCH];
    static struct iovec sent, taken[BATCH];
    struct sockaddr_in address = { .sin_family = AF_INET };
    struct timeval patience = { .tv_usec = 20000 };
    if (argc != 4 || inet_pton(AF_INET, argv[1], &address.sin_addr) != 1)
        return 2;
    address.sin_port = htons((unsigned short)atoi(argv[2]));
    ssize_t bytes = read(0, request, sizeof request);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (bytes <= 0 || fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        return 3;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0)
        return 3;
    sent = (struct iovec){ request, (size_t)bytes };
    for (int i = 0; i < BATCH; i++) {
        taken[i] = (struct iovec){ replies[i], BUFFER };
        out[i].msg_hdr = (struct msghdr){ .msg_iov = &sent, .msg_iovlen = 1 };
        in[i].msg_hdr = (struct msghdr){ .msg_iov = &taken[i], .msg_iovlen = 1 };
    }
    long end = now() + atol(argv[3]) * 1000000L, answered = 0, lost = 0;
    while (now() < end) {
        int due = sendmmsg(fd, out, BATCH, 0);
        while (due > 0) {
            int got = recvmmsg(fd, in, (unsigned)due, MSG_WAITFORONE, NULL);
            if (got <= 0) {
                lost += due;
                break;
            }
            answered += got;
            due -= got;
        }
    }
    printf("%ld %ld\n", answered, lost);
    return answered == 0;
}
