/* For LD_PRELOAD: nothing beyond this machine is reached, and every attempt is a line of $ATTEMPTS. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

static void tell(const char *what, const char *whom) {
    const char *path = getenv("ATTEMPTS");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (file) {
        fprintf(file, "%s %s\n", what, whom);
        fclose(file);
    }
}

static int is_far(const struct sockaddr *address, char *text, socklen_t size) {
    if (address && address->sa_family == AF_INET) {
        const struct in_addr *ip = &((const struct sockaddr_in *)address)->sin_addr;
        inet_ntop(AF_INET, ip, text, size);
        return ntohl(ip->s_addr) >> 24 != 127 && ip->s_addr != 0;
    }
    if (address && address->sa_family == AF_INET6) {
        const struct in6_addr *ip = &((const struct sockaddr_in6 *)address)->sin6_addr;
        inet_ntop(AF_INET6, ip, text, size);
        if (IN6_IS_ADDR_V4MAPPED(ip)) return ip->s6_addr[12] != 127;
        return !IN6_IS_ADDR_LOOPBACK(ip) && !IN6_IS_ADDR_UNSPECIFIED(ip);
    }
    return 0;
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    char text[INET6_ADDRSTRLEN];
    if (is_far(address, text, sizeof text)) {
        tell("connect", text);
        errno = ENETUNREACH;
        return -1;
    }
    return real(fd, address, length);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *address,
               socklen_t length) {
    ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t) =
        dlsym(RTLD_NEXT, "sendto");
    char text[INET6_ADDRSTRLEN];
    if (is_far(address, text, sizeof text)) {
        tell("sendto", text);
        errno = ENETUNREACH;
        return -1;
    }
    return real(fd, data, size, flags, address, length);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    unsigned char bytes[16];
    int numeric = name && (inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1);
    if (name && !numeric && strcmp(name, "localhost")) {
        tell("look up", name);
        return EAI_FAIL;
    }
    return real(name, service, hints, found);
}
