/*
 * How soon a change is live: `until ADDRESS PORT NEW OLD TEXT < REQUEST`. Renames the file NEW over OLD, then sends the
 * bytes of stdin again and again until an answer holds TEXT. Prints the nanoseconds from the renaming to that answer.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define BUFFER 2048
#define PATIENCE 5000000000L

static long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

int main(int argc, char **argv)
{
    static char request[BUFFER], reply[BUFFER];
    struct sockaddr_in address = { .sin_family = AF_INET };
    struct timeval patience = { .tv_usec = 10000 };
    if (argc != 6 || inet_pton(AF_INET, argv[1], &address.sin_addr) != 1)
        return 2;
    address.sin_port = htons((unsigned short)atoi(argv[2]));
    ssize_t bytes = read(0, request, sizeof request);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (bytes <= 0 || fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        return 3;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0)
        return 3;
    long begin = now();
    if (rename(argv[3], argv[4]) != 0)
        return 3;
    while (now() - begin < PATIENCE) {
        ssize_t got = -1;
        if (send(fd, request, (size_t)bytes, 0) == bytes)
            got = recv(fd, reply, sizeof reply, 0);
        if (got > 0 && memmem(reply, (size_t)got, argv[5], strlen(argv[5]))) {
            printf("%ld\n", now() - begin);
            return 0;
        }
        /* Gives the compiler the core that both share. */
        usleep(500);
    }
    return 1;
}
