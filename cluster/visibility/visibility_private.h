/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parser's files share: words of the text, and values.
 */
#ifndef CLUSTER_VISIBILITY_VISIBILITY_PRIVATE_H
#define CLUSTER_VISIBILITY_VISIBILITY_PRIVATE_H

#include <stdint.h>

#include "cluster/visibility/visibility.h"

enum word_kind {
    WORD_END,
    WORD_NAME,   /* or a keyword */
    WORD_QUOTED, /* a backticked name: never a keyword */
    WORD_STRING,
    WORD_NUMBER,
    WORD_SIGN, /* = != < <= > >= ( ) , */
    WORD_BAD,
};

/** A word. `text` is NUL-terminated in the arena, quotes and escapes resolved. */
struct word {
    enum word_kind kind;
    const char *text;
    size_t len; /* of text: strings may hold anything */
};

struct word_reader {
    struct arena *arena;
    const char *at;
};

/** The next word. WORD_BAD: text says what is wrong. */
struct word word_next(struct word_reader *reader);
/** A keyword, in any case. */
bool word_is(const struct word *word, const char *keyword);
bool word_is_sign(const struct word *word, const char *sign);

/** Reads a value for a field of this kind; false: no such value. Strings are those of the word. */
bool value_read(enum filter_kind kind, const struct word *word, struct filter_value *ret_value);
/** The smallest and largest UUID that begins with this text; false when none does. */
bool uuid_prefix(struct arena *arena, const struct word *word, struct filter_value ret_range[2]);

#endif
