/* SPDX-License-Identifier: Apache-2.0
 *
 * Every bound of the system in one place. Values that mirror the public API's defaults say so.
 */
#ifndef CLUSTER_BASE_LIMITS_H
#define CLUSTER_BASE_LIMITS_H

#define KIB 1024u
#define MIB (1024u * KIB)

#define NS_PER_MS 1000000ll
#define NS_PER_S  1000000000ll

/* Public API defaults. */
#define GRPC_MESSAGE_BYTES_MAX           (4u * MIB)
#define BLOB_BYTES_MAX                   (2u * MIB)
#define MEMO_BYTES_MAX                   (2u * MIB)
#define ID_BYTES_MAX                     1000u
#define HISTORY_BYTES_MAX                (50u * MIB)
#define HISTORY_EVENTS_MAX               51200
#define HISTORY_BYTES_SUGGEST_CAN        (4u * MIB)
#define HISTORY_EVENTS_SUGGEST_CAN       4096
#define HISTORY_PAGE_EVENTS_MAX          256
#define VISIBILITY_PAGE_MAX              1000
#define PENDING_PER_KIND_MAX             2000
#define SIGNALS_PER_RUN_MAX              10000
#define BUFFERED_EVENTS_MAX              100
#define BUFFERED_BYTES_MAX               (2u * MIB)
#define BUFFERED_QUERIES_MAX             1
#define RETRY_FAILURE_BYTES_MAX          (4u * KIB)
#define WORKFLOW_TASK_TIMEOUT_DEFAULT_MS 10000
#define WORKFLOW_TASK_TIMEOUT_MAX_MS     120000
#define WORKFLOW_TASK_HEARTBEAT_MAX_MS   (30 * 60 * 1000)
#define LONG_POLL_TASK_MAX_MS            60000
#define LONG_POLL_HISTORY_MAX_MS         20000
#define ERROR_TEXT_BYTES_MAX             4000u
#define RETENTION_MIN_MS                 (3600ll * 1000)

/* Our own. */
#define NAME_BYTES_MAX     255u /* namespace and cluster names */
#define CLUSTERS_MAX       32   /* clusters in one federation */
#define SHARDS_MAX         4096
#define COMMIT_ROWS_MAX    10000 /* rows one commit may carry */
#define COMMIT_BYTES_MAX   (16u * MIB)
#define MAILBOX_DEFAULT    65536        /* messages */
#define ENVELOPE_BYTES_MAX (768u * KIB) /* below NATS's default max_payload of 1 MiB */
#define ENVELOPE_ITEMS_MAX 512

_Static_assert(BLOB_BYTES_MAX < GRPC_MESSAGE_BYTES_MAX, "a message must hold a largest blob");
_Static_assert(GRPC_MESSAGE_BYTES_MAX < COMMIT_BYTES_MAX, "a commit must hold a largest request");
_Static_assert(HISTORY_BYTES_SUGGEST_CAN < HISTORY_BYTES_MAX, "the hint must come before the end");
_Static_assert(
    HISTORY_EVENTS_SUGGEST_CAN < HISTORY_EVENTS_MAX, "the hint must come before the end");
_Static_assert(
    ENVELOPE_BYTES_MAX < MIB - 64 * KIB, "an envelope and its headers must fit a message");
_Static_assert(WORKFLOW_TASK_TIMEOUT_DEFAULT_MS <= WORKFLOW_TASK_TIMEOUT_MAX_MS, "a legal default");
_Static_assert(NAME_BYTES_MAX <= ID_BYTES_MAX, "names are identifiers too");

#endif
