/* SPDX-License-Identifier: Apache-2.0
 *
 * Compiler attributes and the CHECK family, on in every build.
 *
 * CHECK is for our own invariants only. Bytes that came from a wire, a disk or a file are never
 * CHECKed: they are validated and answered with ERR_CORRUPT or ERR_INVALID.
 */
#ifndef CLUSTER_BASE_CHECK_H
#define CLUSTER_BASE_CHECK_H

#define NODISCARD              __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define NORETURN               __attribute__((noreturn))
#define UNUSED                 __attribute__((unused))

/** Runs `fn(&variable)` when the variable leaves its scope. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

/** Prints file, line and the broken condition to stderr, then aborts. Any thread. */
NORETURN void check_fail(const char *file, int line, const char *condition);

/** Aborts when `condition` is false. One condition each; release builds keep it. */
#define CHECK(condition)                                \
    do {                                                \
        if (__builtin_expect(!(condition), 0))          \
            check_fail(__FILE__, __LINE__, #condition); \
    } while (0)

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/** The struct that contains `member` at address `ptr`. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
