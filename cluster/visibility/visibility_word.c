/* SPDX-License-Identifier: Apache-2.0
 *
 * Splits the text into words.
 */
#include <string.h>
#include <strings.h>

#include "cluster/visibility/visibility_private.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c) ||
           c == '.' || c == '-';
}

static struct word bad(const char *text)
{
    return (struct word){.kind = WORD_BAD, .text = text, .len = strlen(text)};
}

static struct word word_of(
    struct word_reader *reader, enum word_kind kind, const char *from, size_t len)
{
    reader->at = from + len;
    return (struct word){.kind = kind, .text = arena_copy(reader->arena, from, len), .len = len};
}

/* Behind the closing quote; NULL when there is none. */
static const char *quoted_end(const char *at, char quote)
{
    for (at++; *at; at++) {
        if (*at == '\\' && quote != '`' && at[1])
            at++;
        else if (*at == quote && at[1] == quote)
            at++;
        else if (*at == quote)
            return at + 1;
    }
    return NULL;
}

/* From the opening quote. A quote is written twice or behind a backslash. */
static struct word read_quoted(struct word_reader *reader, char quote)
{
    const char *end = quoted_end(reader->at, quote);
    if (!end)
        return bad("a quote is not closed");
    char *text = arena_alloc(reader->arena, (size_t)(end - reader->at));
    size_t len = 0;
    for (const char *at = reader->at + 1; at < end - 1; at++) {
        if ((*at == '\\' && quote != '`') || *at == quote)
            at++;
        text[len++] = *at;
    }
    text[len] = 0;
    reader->at = end;
    return (struct word){
        .kind = quote == '`' ? WORD_QUOTED : WORD_STRING, .text = text, .len = len};
}

static struct word read_sign(struct word_reader *reader)
{
    static const char *const signs[] = {"!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", ","};
    for (size_t i = 0; i < ARRAY_LEN(signs); i++) {
        size_t len = strlen(signs[i]);
        if (strncmp(reader->at, signs[i], len) == 0)
            return word_of(reader, WORD_SIGN, reader->at, len);
    }
    return bad("unexpected character");
}

struct word word_next(struct word_reader *reader)
{
    while (is_space(*reader->at))
        reader->at++;
    const char *at = reader->at;
    if (!*at)
        return (struct word){.kind = WORD_END, .text = "", .len = 0};
    if (*at == '\'' || *at == '"' || *at == '`')
        return read_quoted(reader, *at);
    size_t len = 0;
    if (is_digit(*at) || ((*at == '-' || *at == '+') && is_digit(at[1]))) {
        len = 1;
        while (is_digit(at[len]))
            len++;
        return is_name(at[len]) ? bad("not a number") : word_of(reader, WORD_NUMBER, at, len);
    }
    while (is_name(at[len]))
        len++;
    return len ? word_of(reader, WORD_NAME, at, len) : read_sign(reader);
}

bool word_is(const struct word *word, const char *keyword)
{
    return word->kind == WORD_NAME && strcasecmp(word->text, keyword) == 0;
}

bool word_is_sign(const struct word *word, const char *sign)
{
    return word->kind == WORD_SIGN && strcmp(word->text, sign) == 0;
}
