/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/err.h"

struct err_row {
    const char *name;
    const char *text;
    enum err_class class;
    enum grpc_code grpc;
};

static const struct err_row err_rows[ERR_COUNT] = {
#define ERR_ROW(name, text, class, grpc) [name] = {#name, text, ERR_CLASS_##class, GRPC_##grpc},
    ERR_TABLE(ERR_ROW)
#undef ERR_ROW
};

static const struct err_row *row_of(enum err err)
{
    CHECK((unsigned)err < ERR_COUNT);
    return &err_rows[err];
}

const char *err_name(enum err err)
{
    return row_of(err)->name;
}

const char *err_text(enum err err)
{
    return row_of(err)->text;
}

enum err_class err_class(enum err err)
{
    return row_of(err)->class;
}

enum grpc_code err_grpc(enum err err)
{
    return row_of(err)->grpc;
}
