/* Checks for the test programs: a failed one says where, and ends the program. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);               \
            exit(1);                                                                      \
        }                                                                                 \
    } while (0)

#define RUN(story)                                                                        \
    do {                                                                                  \
        story();                                                                          \
        stories += 1;                                                                     \
    } while (0)

#endif
