/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading of arguments, by getopt_long: options may stand anywhere behind the command's words.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/config.h"
#include "cluster/cli/cli_private.h"

#define OPTIONS_MAX 40

/* getopt's value of an option is its place in `known`. */
struct parser {
    struct cli *cli;
    struct option options[OPTIONS_MAX + 1];
    const struct cli_option *known[OPTIONS_MAX];
    size_t count;
    char letters[2 * OPTIONS_MAX + 2];
};

#define VALUE_FIRST 256

static void add_options(struct parser *parser, const struct cli_option *options, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        CHECK(parser->count < OPTIONS_MAX);
        parser->options[parser->count] =
            (struct option){options[i].name, options[i].argument ? required_argument : no_argument,
                NULL, VALUE_FIRST + (int)parser->count};
        parser->known[parser->count++] = &options[i];
        if (!options[i].letter)
            continue;
        size_t len = strlen(parser->letters);
        parser->letters[len] = options[i].letter;
        parser->letters[len + 1] = options[i].argument ? ':' : 0;
    }
}

static const struct cli_option *known_option(const struct parser *parser, int value)
{
    if (value >= VALUE_FIRST)
        return parser->known[value - VALUE_FIRST];
    for (size_t i = 0; i < parser->count; i++) {
        if (parser->known[i]->letter == value)
            return parser->known[i];
    }
    return NULL;
}

int cli_usage(const struct cli *cli, const char *fmt, ...)
{
    const struct cli_command *command = cli->command;
    fprintf(stderr, "strait %s%s%s: ", command->group, *command->name ? " " : "", command->name);
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "; see strait %s%s%s --help\n", command->group, *command->name ? " " : "",
        command->name);
    return CLI_USAGE;
}

static int check_arguments(struct cli *cli)
{
    const struct cli_command *command = cli->command;
    if (cli->arg_count > command->args_max)
        return cli_usage(cli, "%s is not expected here", cli->args[command->args_max]);
    if (cli->arg_count >= command->args_min)
        return -1;
    return cli_usage(cli, "%s is missing", command->arguments);
}

static int take_globals(struct cli *cli)
{
    const char *address = getenv("STRAIT_ADDRESS");
    if (!address || !*address)
        address = getenv("TEMPORAL_ADDRESS");
    if (!address || !*address)
        address = "127.0.0.1:7233";
    cli->address = cli_value_or(cli, "address", address);
    const char *output = cli_value_or(cli, "output", "table");
    cli->json = strcmp(output, "json") == 0;
    if (!cli->json && strcmp(output, "table") != 0)
        return cli_usage(cli, "--output %s: write table or json", output);
    cli->timeout_ms = 10000;
    if (cli_span_ms(cli, "timeout", &cli->timeout_ms))
        return CLI_USAGE;
    return check_arguments(cli);
}

/* One word of getopt: an option of ours, or a mistake. */
static int take_option(struct parser *parser, int value, char **argv)
{
    struct cli *cli = parser->cli;
    if (value == ':')
        return cli_usage(cli, "%s needs a value", argv[optind - 1]);
    const struct cli_option *option = value == '?' ? NULL : known_option(parser, value);
    if (!option && optopt >= VALUE_FIRST)
        return cli_usage(cli, "--%s takes no value", known_option(parser, optopt)->name);
    if (!option && optopt)
        return cli_usage(cli, "-%c is not an option", optopt);
    if (!option)
        return cli_usage(cli, "%s is not an option", argv[optind - 1]);
    if (strcmp(option->name, "help") == 0) {
        cli_help_command(cli->command);
        return CLI_OK;
    }
    if (cli->setting_count == CLI_SETTINGS_MAX)
        return cli_usage(cli, "too many options");
    cli->settings[cli->setting_count].name = option->name;
    cli->settings[cli->setting_count++].value = optarg ? optarg : "";
    return -1;
}

int cli_parse(struct cli *cli, int argc, char **argv, int words)
{
    struct parser parser = {.cli = cli, .letters = ":"};
    add_options(&parser, cli->command->options, cli->command->option_count);
    add_options(&parser, cli_global_options, cli_global_option_count);
    argc -= words + 1;
    argv += words + 1;
    opterr = 0;
    optind = 0; /* getopt starts afresh */
    int value;
    while ((value = getopt_long(argc, argv, parser.letters, parser.options, NULL)) != -1) {
        int status = take_option(&parser, value, argv);
        if (status >= 0)
            return status;
    }
    cli->args = argv + optind;
    cli->arg_count = argc - optind;
    return take_globals(cli);
}

/* ---- values --------------------------------------------------------------------------------- */

const char *cli_value(const struct cli *cli, const char *name)
{
    for (int i = cli->setting_count - 1; i >= 0; i--) {
        if (strcmp(cli->settings[i].name, name) == 0)
            return cli->settings[i].value;
    }
    return NULL;
}

const char *cli_value_or(const struct cli *cli, const char *name, const char *otherwise)
{
    const char *value = cli_value(cli, name);
    return value ? value : otherwise;
}

bool cli_flag(const struct cli *cli, const char *name)
{
    return cli_value(cli, name) != NULL;
}

const char *cli_each(const struct cli *cli, const char *name, int *cursor)
{
    while (*cursor < cli->setting_count) {
        int i = (*cursor)++;
        if (strcmp(cli->settings[i].name, name) == 0)
            return cli->settings[i].value;
    }
    return NULL;
}

int cli_span_ms(const struct cli *cli, const char *name, int64_t *ret_ms)
{
    const char *value = cli_value(cli, name);
    if (!value)
        return CLI_OK;
    int64_t ms = config_parse_span_ms(value);
    if (ms <= 0)
        return cli_usage(
            cli, "--%s %s: write a span such as 500ms, 10s, 15m, 12h or 3d", name, value);
    *ret_ms = ms;
    return CLI_OK;
}

int cli_number(
    const struct cli *cli, const char *name, int64_t least, int64_t most, int64_t *ret_number)
{
    const char *value = cli_value(cli, name);
    if (!value)
        return CLI_OK;
    char *end = NULL;
    long long number = strtoll(value, &end, 10);
    if (!*value || *end || number < least || number > most)
        return cli_usage(cli, "--%s %s: write a number from %lld to %lld", name, value,
            (long long)least, (long long)most);
    *ret_number = number;
    return CLI_OK;
}

int cli_list(struct cli *cli, const char *name, char ***ret_items, size_t *ret_count)
{
    const char *value = cli_value(cli, name);
    *ret_count = 0;
    *ret_items = arena_zalloc(&cli->arena, value ? strlen(value) + 1 : 1, sizeof(char *));
    while (value && *value) {
        size_t len = strcspn(value, ",");
        if (len == 0 || (value[len] == ',' && !value[len + 1]))
            return cli_usage(cli, "--%s: write names separated by commas, without blanks", name);
        (*ret_items)[(*ret_count)++] = arena_copy(&cli->arena, value, len);
        value += len;
        value += *value == ',';
    }
    return CLI_OK;
}

char *cli_namespace(struct cli *cli)
{
    return arena_strdup(&cli->arena, cli_value_or(cli, "namespace", "default"));
}
