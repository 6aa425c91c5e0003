/* SPDX-License-Identifier: Apache-2.0
 *
 * Values: times, durations, statuses, UUIDs, numbers. Beyond what 64 bits of nanoseconds hold,
 * times and durations are cut to the nearest that they do hold: the comparison means the same.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cluster/base/limits.h"
#include "cluster/base/uuid.h"
#include "cluster/visibility/visibility_private.h"

/* The largest time of a value: the store's "never" is larger. */
#define NS_MAX (INT64_MAX - 1)

/* ---- numbers ------------------------------------------------------------------------------- */

/* `count` digits at *at, moved behind them. */
static bool digits(const char **at, int count, int64_t *ret_number)
{
    int64_t number = 0;
    for (int i = 0; i < count; i++) {
        char c = (*at)[i];
        if (c < '0' || c > '9')
            return false;
        number = number * 10 + (c - '0');
    }
    *at += count;
    *ret_number = number;
    return true;
}

static bool literal(const char **at, char c)
{
    if (**at != c)
        return false;
    (*at)++;
    return true;
}

static bool integer(const char *text, int64_t *ret_number)
{
    bool negative = *text == '-';
    const char *at = *text == '-' || *text == '+' ? text + 1 : text;
    if (!*at)
        return false;
    int64_t number = 0;
    for (; *at; at++) {
        if (*at < '0' || *at > '9' || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_sub_overflow(number, *at - '0', &number))
            return false;
    }
    if (negative)
        *ret_number = number;
    return negative || !__builtin_sub_overflow(0, number, ret_number);
}

static int64_t scaled_sum(int64_t count, int64_t unit, int64_t add)
{
    int64_t result = 0;
    if (__builtin_mul_overflow(count, unit, &result) ||
        __builtin_add_overflow(result, add, &result) || result > NS_MAX)
        return count < 0 ? INT64_MIN : NS_MAX;
    return result;
}

/* Digits behind a decimal point, of `unit`; more than nine are read and ignored. */
static int64_t fraction(const char **at, int64_t unit)
{
    int64_t sum = 0;
    while (**at >= '0' && **at <= '9') {
        unit /= 10;
        sum += (**at - '0') * unit;
        (*at)++;
    }
    return sum;
}

/* ---- times --------------------------------------------------------------------------------- */

/* Days since 1970-01-01 of a date of the Gregorian calendar. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = y / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static int64_t days_in(int64_t year, int64_t month)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

/* Z, or +hh:mm; in seconds. */
static bool zone(const char **at, int64_t *ret_seconds)
{
    *ret_seconds = 0;
    if (literal(at, 'Z') || literal(at, 'z'))
        return true;
    int64_t sign = **at == '-' ? -1 : 1;
    int64_t hours = 0;
    int64_t minutes = 0;
    if (!literal(at, '+') && !literal(at, '-'))
        return false;
    if (!digits(at, 2, &hours) || !literal(at, ':') || !digits(at, 2, &minutes) || hours > 23 ||
        minutes > 59)
        return false;
    *ret_seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

/* RFC 3339, any number of fractional digits. */
static bool time_read(const char *text, int64_t *ret_ns)
{
    const char *at = text;
    int64_t year;
    int64_t month;
    int64_t day;
    int64_t hour;
    int64_t minute;
    int64_t second;
    int64_t offset;
    if (!digits(&at, 4, &year) || !literal(&at, '-') || !digits(&at, 2, &month) ||
        !literal(&at, '-') || !digits(&at, 2, &day) || (*at != 'T' && *at != 't' && *at != ' '))
        return false;
    at++;
    if (!digits(&at, 2, &hour) || !literal(&at, ':') || !digits(&at, 2, &minute) ||
        !literal(&at, ':') || !digits(&at, 2, &second))
        return false;
    int64_t nanos = literal(&at, '.') ? fraction(&at, NS_PER_S) : 0;
    if (!zone(&at, &offset) || *at || month < 1 || month > 12 || day < 1 ||
        day > days_in(year, month) || hour > 23 || minute > 59 || second > 60)
        return false;
    int64_t seconds =
        days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
    *ret_ns = scaled_sum(seconds, NS_PER_S, nanos);
    return true;
}

/* ---- durations ----------------------------------------------------------------------------- */

static bool unit_read(const char **at, int64_t *ret_unit)
{
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = {{"ns", 1}, {"us", 1000}, {"\xc2\xb5s", 1000}, {"ms", NS_PER_MS},
        {"h", 3600 * NS_PER_S}, {"m", 60 * NS_PER_S}, {"s", NS_PER_S}, {"d", 86400 * NS_PER_S}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        size_t len = strlen(units[i].name);
        if (strncmp(*at, units[i].name, len) == 0) {
            *at += len;
            *ret_unit = units[i].ns;
            return true;
        }
    }
    return false;
}

/* Digits, cut at what scaled_sum() needs to see an overflow. */
static bool amount_read(const char **at, int64_t *ret_amount)
{
    if (**at < '0' || **at > '9')
        return false;
    int64_t amount = 0;
    for (; **at >= '0' && **at <= '9'; (*at)++)
        amount = scaled_sum(amount, 10, **at - '0');
    *ret_amount = amount;
    return true;
}

/* hh:mm:ss */
static bool clock_read(const char *text, int64_t *ret_ns)
{
    const char *at = text;
    int64_t hours;
    int64_t minutes;
    int64_t seconds;
    if (!amount_read(&at, &hours) || !literal(&at, ':') || !digits(&at, 2, &minutes) ||
        !literal(&at, ':') || !digits(&at, 2, &seconds) || *at || minutes > 59 || seconds > 59)
        return false;
    *ret_ns = scaled_sum(hours, 3600 * NS_PER_S, (minutes * 60 + seconds) * NS_PER_S);
    return true;
}

/* 1h30m, 1.5s, 200ms; or hh:mm:ss; or nanoseconds. */
static bool duration_read(const char *text, int64_t *ret_ns)
{
    if (integer(text, ret_ns) || clock_read(text, ret_ns))
        return true;
    const char *at = *text == '-' || *text == '+' ? text + 1 : text;
    int64_t sum = 0;
    if (!*at)
        return false;
    while (*at) {
        int64_t amount;
        int64_t unit;
        if (!amount_read(&at, &amount))
            return false;
        const char *decimals = literal(&at, '.') ? at : NULL;
        while (decimals && *at >= '0' && *at <= '9')
            at++;
        if (!unit_read(&at, &unit))
            return false;
        int64_t part = decimals ? fraction(&decimals, unit) : 0;
        if (__builtin_add_overflow(sum, scaled_sum(amount, unit, part), &sum))
            sum = NS_MAX;
    }
    *ret_ns = *text == '-' ? -sum : sum;
    return true;
}

/* ---- the rest ------------------------------------------------------------------------------ */

static const char *const status_names[] = {NULL, "Running", "Completed", "Failed", "Canceled",
    "Terminated", "ContinuedAsNew", "TimedOut", "Paused"};

const char *visibility_status_name(int status)
{
    bool known = status > 0 && (size_t)status < ARRAY_LEN(status_names);
    return known ? status_names[status] : NULL;
}

/* "TimedOut", "TIMED_OUT", "WORKFLOW_EXECUTION_STATUS_TIMED_OUT" are the same. */
static bool status_is(const char *text, const char *name)
{
    static const char prefix[] = "WORKFLOW_EXECUTION_STATUS_";
    if (strncmp(text, prefix, sizeof(prefix) - 1) == 0)
        text += sizeof(prefix) - 1;
    for (; *text; text++) {
        if (*text == '_')
            continue;
        if (strncasecmp(text, name, 1) != 0)
            return false;
        name++;
    }
    return !*name;
}

static bool status_read(const struct word *word, int64_t *ret_status)
{
    if (word->kind == WORD_NUMBER)
        return integer(word->text, ret_status) && *ret_status >= 0 && *ret_status <= INT16_MAX;
    for (size_t i = 1; i < ARRAY_LEN(status_names); i++) {
        if (status_is(word->text, status_names[i])) {
            *ret_status = (int64_t)i;
            return true;
        }
    }
    return false;
}

bool value_read(enum filter_kind kind, const struct word *word, struct filter_value *ret_value)
{
    /* Nobody has the zero UUID: what is no UUID is equal to none. */
    static const struct uuid nobody = {{0}};
    bool string = word->kind == WORD_STRING;
    *ret_value = (struct filter_value){0};
    switch (kind) {
    case FILTER_KIND_KEYWORD:
        ret_value->text = bytes_make(word->text, word->len);
        return string;
    case FILTER_KIND_UUID:
        ret_value->text = uuid_view(&nobody);
        return string;
    case FILTER_KIND_STATUS:
        return status_read(word, &ret_value->number);
    case FILTER_KIND_TIME:
        return string ? time_read(word->text, &ret_value->number)
                      : integer(word->text, &ret_value->number);
    case FILTER_KIND_DURATION:
        return duration_read(word->text, &ret_value->number);
    case FILTER_KIND_INT:
        return !string && integer(word->text, &ret_value->number);
    }
    return false;
}

bool uuid_prefix(struct arena *arena, const struct word *word, struct filter_value ret_range[2])
{
    static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    if (word->len > UUID_TEXT_LEN)
        return false;
    for (size_t i = 0; i < 2; i++) {
        char text[UUID_TEXT_LEN + 1];
        memcpy(text, shape, sizeof(text));
        for (size_t k = 0; k < UUID_TEXT_LEN; k++) {
            if (k < word->len)
                text[k] = word->text[k];
            else if (shape[k] == 'x')
                text[k] = i == 0 ? '0' : 'f';
        }
        struct uuid *uuid = arena_new(arena, struct uuid);
        if (!uuid_parse(bytes_make(text, UUID_TEXT_LEN), uuid))
            return false;
        ret_range[i] = (struct filter_value){.text = uuid_view(uuid)};
    }
    return true;
}
