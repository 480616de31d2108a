/*
 * One request in flight: `ping ADDRESS PORT COUNT < REQUEST`. Sends the bytes of stdin, waits for any answer, again.
 * Prints `P50 P99 LOST`: nanoseconds of a round trip, and how many got no answer within 100 ms.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define BUFFER 2048
#define WARM_UP 200

static long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    long left = *(const long *)a, right = *(const long *)b;
    return (left > right) - (left < right);
}

int main(int argc, char **argv)
{
    static char request[BUFFER], reply[BUFFER];
    struct sockaddr_in address = { .sin_family = AF_INET };
    struct timeval patience = { .tv_usec = 100000 };
    if (argc != 4 || inet_pton(AF_INET, argv[1], &address.sin_addr) != 1)
        return 2;
    address.sin_port = htons((unsigned short)atoi(argv[2]));
    long count = atol(argv[3]), taken = 0, lost = 0;
    ssize_t bytes = read(0, request, sizeof request);
    long *times = count > 0 ? malloc((size_t)count * sizeof *times) : NULL;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (!times || bytes <= 0 || fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        return 3;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0)
        return 3;
    for (long i = -WARM_UP; i < count; i++) {
        long begin = now();
        if (send(fd, request, (size_t)bytes, 0) != bytes || recv(fd, reply, sizeof reply, 0) < 0) {
            lost += i >= 0;
            continue;
        }
        if (i >= 0)
            times[taken++] = now() - begin;
    }
    if (taken == 0)
        return 1;
    qsort(times, (size_t)taken, sizeof *times, ascending);
    printf("%ld %ld %ld\n", times[taken / 2], times[taken * 99 / 100], lost);
    return 0;
}
