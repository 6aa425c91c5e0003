/* SPDX-License-Identifier: Apache-2.0
 *
 * What the commands share: a table of commands, one way to read arguments, one way to call a
 * server, one way to print. A command is a row in its file's table and a function.
 */
#ifndef CLUSTER_CLI_CLI_PRIVATE_H
#define CLUSTER_CLI_CLI_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

#include "cluster/base/arena.h"
#include "cluster/base/bytes.h"
#include "cluster/base/err.h"

#define CLI_SETTINGS_MAX 64

/* Exit status. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

struct cli;

struct cli_option {
    const char *name;
    char letter;          /* 0 = none */
    const char *argument; /* what stands behind it; NULL = a flag */
    const char *help;
};

struct cli_command {
    const char *group;     /* first word */
    const char *name;      /* further words; "" = the group itself */
    const char *arguments; /* as shown, e.g. "NAMESPACE" */
    const char *what;      /* one line */
    const char *more;      /* paragraphs for --help; NULL = none */
    const struct cli_option *options;
    size_t option_count;
    int args_min;
    int args_max;
    int (*run)(struct cli *cli);
};

/** One command under way. Everything it needs dies with the arena. */
struct cli {
    const struct cli_command *command;
    struct arena arena;
    char **args; /* without the command's words and the options */
    int arg_count;
    struct {
        const char *name;
        const char *value;
    } settings[CLI_SETTINGS_MAX]; /* options given, in order */
    int setting_count;
    bool json;
    const char *address;
    int64_t timeout_ms;
    struct rpc_client *client; /* opened by the first call */
};

/* ---- commands, by file ---------------------------------------------------------------------- */

extern const struct cli_command cli_namespace_commands[];
extern const size_t cli_namespace_command_count;
extern const struct cli_command cli_failover_commands[];
extern const size_t cli_failover_command_count;
extern const struct cli_command cli_cluster_commands[];
extern const size_t cli_cluster_command_count;
extern const struct cli_command cli_workflow_commands[];
extern const size_t cli_workflow_command_count;
/** Of cmd_workflow_show.c; rows in cmd_workflow.c's table. */
int cli_workflow_list(struct cli *cli);
int cli_workflow_describe(struct cli *cli);
int cli_workflow_history(struct cli *cli);

/* ---- cli_help.c ----------------------------------------------------------------------------- */

/** Options that every command takes. */
extern const struct cli_option cli_global_options[];
extern const size_t cli_global_option_count;
void cli_help_command(const struct cli_command *command);
/** All commands of a table that belong to the group. */
void cli_help_group(const char *group, const struct cli_command *commands, size_t count);

/* ---- cli_parse.c ---------------------------------------------------------------------------- */

/** Reads options and arguments behind the `words` first ones. -1 = go on, else the exit status. */
int cli_parse(struct cli *cli, int argc, char **argv, int words);
/** Prints what is wrong and where help is; returns CLI_USAGE. */
int cli_usage(const struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
/** The option's value, the last one given; NULL = not given. Flags have the value "". */
const char *cli_value(const struct cli *cli, const char *name);
/** The value, or this. */
const char *cli_value_or(const struct cli *cli, const char *name, const char *otherwise);
bool cli_flag(const struct cli *cli, const char *name);
/** The values of an option that may be repeated; *cursor = 0 at first; NULL = no more. */
const char *cli_each(const struct cli *cli, const char *name, int *cursor);
/** A span such as "10s" or "3d"; unchanged when not given. CLI_OK or CLI_USAGE. */
NODISCARD int cli_span_ms(const struct cli *cli, const char *name, int64_t *ret_ms);
/** A number from least to most; unchanged when not given. CLI_OK or CLI_USAGE. */
NODISCARD int cli_number(
    const struct cli *cli, const char *name, int64_t least, int64_t most, int64_t *ret_number);
/** A list separated by commas; *ret_count = 0 when not given. CLI_OK or CLI_USAGE. */
NODISCARD int cli_list(struct cli *cli, const char *name, char ***ret_items, size_t *ret_count);
/** --namespace. */
char *cli_namespace(struct cli *cli);

/* ---- cli_call.c ----------------------------------------------------------------------------- */

#define CLI_ADMIN    "/strait.admin.v1.AdminService/"
#define CLI_WORKFLOW "/temporal.api.workflowservice.v1.WorkflowService/"

/** Calls `service` + `method`; the response in *ret_response. CLI_OK, or CLI_FAILED with the reason
 *  printed. */
NODISCARD int cli_call(struct cli *cli, const char *service, const char *method,
    const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response,
    void *ret_response);
/** The same, for a command that looks at the failure: prints nothing. */
struct rpc_result cli_try(
    struct cli *cli, const char *service, const char *method, const ProtobufCMessage *request);
/** Prints why a call failed, and what helps. Returns CLI_FAILED. */
int cli_report(const struct cli *cli, const struct rpc_result *result);
/** Prints one line about what went wrong here. Returns CLI_FAILED. */
int cli_fail(const struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
/** "user@host". */
char *cli_identity(struct cli *cli);

/* ---- cli_table.c ---------------------------------------------------------------------------- */

/** Columns for people. Cells are views that live until it is printed. */
struct cli_table {
    struct arena *arena;
    size_t columns;
    const char **cells;
    size_t count;
    size_t capacity;
};

/** `titles`: one per column. */
void cli_table_begin(
    struct cli_table *table, struct arena *arena, size_t columns, const char *const *titles);
void cli_table_row(struct cli_table *table, const char *const *cells);
void cli_table_print(const struct cli_table *table);
/** "2026-01-02T03:04:05Z"; "-" for 0. */
char *cli_time(struct arena *arena, int64_t wall_ns);
/** "1.2s", "3d"; "-" for less than 0. */
char *cli_duration(struct arena *arena, int64_t ms);
char *cli_join(struct arena *arena, char *const *items, size_t count);

/* ---- cli_json.c ----------------------------------------------------------------------------- */

/** Any message as JSON: field names as in proto/, times and durations as text, payloads decoded
 *  where they are JSON, other opaque bytes in base64. */
json_t *cli_json_message(const ProtobufCMessage *message);
/** The payloads of an opaque field as an array. */
json_t *cli_json_payloads(size_t count, const ProtobufCBinaryData *field);
/** Prints and releases it. */
void cli_json_print(json_t *value);
/** A message as JSON, printed. Returns CLI_OK. */
int cli_json_message_print(const ProtobufCMessage *message);
/** --input values as one opaque field of json/plain payloads. CLI_OK or CLI_USAGE. */
NODISCARD int cli_input(struct cli *cli, size_t *ret_count, ProtobufCBinaryData **ret_field);

#endif
