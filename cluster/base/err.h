/* SPDX-License-Identifier: Apache-2.0
 *
 * The one error table: name, text, class and gRPC status of every error code.
 *
 * Functions return `enum err` (0 = OK). Codes that reach a client are turned into a status by the
 * `grpc` column; what details a status carries is decided in frontend/failure.h.
 */
#ifndef CLUSTER_BASE_ERR_H
#define CLUSTER_BASE_ERR_H

#include "cluster/base/check.h"

/* What a caller may do about it. */
enum err_class {
    ERR_CLASS_OK,
    ERR_CLASS_RETRY,  /* transient: the same call may succeed later */
    ERR_CLASS_REJECT, /* the input is at fault: repeating it is useless */
    ERR_CLASS_FATAL,  /* this component cannot go on */
};

/* gRPC status codes (https://grpc.io/docs/guides/status-codes/). */
enum grpc_code {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};

/* X(name, text, class, grpc) */
#define ERR_TABLE(X)                                                           \
    X(OK, "ok", OK, OK)                                                        \
    X(ERR_BUSY, "busy: a bounded queue is full", RETRY, RESOURCE_EXHAUSTED)    \
    X(ERR_UNAVAILABLE, "unavailable", RETRY, UNAVAILABLE)                      \
    X(ERR_TIMEOUT, "deadline exceeded", RETRY, DEADLINE_EXCEEDED)              \
    X(ERR_CANCELLED, "cancelled", REJECT, CANCELLED)                           \
    X(ERR_CONFLICT, "conflicting write", RETRY, ABORTED)                       \
    X(ERR_FENCED, "shard is owned elsewhere", RETRY, UNAVAILABLE)              \
    X(ERR_UNKNOWN_COMMIT, "commit outcome unknown", RETRY, UNAVAILABLE)        \
    X(ERR_DUPLICATE_KEY, "duplicate key", REJECT, ALREADY_EXISTS)              \
    X(ERR_NOT_FOUND, "not found", REJECT, NOT_FOUND)                           \
    X(ERR_EXISTS, "already exists", REJECT, ALREADY_EXISTS)                    \
    X(ERR_INVALID, "invalid argument", REJECT, INVALID_ARGUMENT)               \
    X(ERR_PRECONDITION, "failed precondition", REJECT, FAILED_PRECONDITION)    \
    X(ERR_PERMISSION, "permission denied", REJECT, PERMISSION_DENIED)          \
    X(ERR_EXHAUSTED, "resource exhausted", RETRY, RESOURCE_EXHAUSTED)          \
    X(ERR_TOO_LARGE, "too large", REJECT, INVALID_ARGUMENT)                    \
    X(ERR_UNIMPLEMENTED, "not implemented", REJECT, UNIMPLEMENTED)             \
    X(ERR_CORRUPT, "corrupt data", REJECT, DATA_LOSS)                          \
    X(ERR_VERSION, "format or schema version not supported", REJECT, INTERNAL) \
    X(ERR_CLOSED, "closed", RETRY, UNAVAILABLE)                                \
    X(ERR_NOMEM, "out of memory", RETRY, RESOURCE_EXHAUSTED)                   \
    X(ERR_IO, "input/output error", RETRY, UNAVAILABLE)                        \
    X(ERR_CONFIG, "configuration error", FATAL, INTERNAL)                      \
    X(ERR_INTERNAL, "internal error", FATAL, INTERNAL)

enum err {
#define ERR_ENUM(name, text, class, grpc) name,
    ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
        ERR_COUNT
};

/** The identifier, e.g. "ERR_BUSY". Static string. */
const char *err_name(enum err err);
/** One plain phrase without a final stop. Static string. */
const char *err_text(enum err err);
enum err_class err_class(enum err err);
enum grpc_code err_grpc(enum err err);

#endif
