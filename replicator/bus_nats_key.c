/* SPDX-License-Identifier: Apache-2.0
 *
 * A seed is base32(2 prefix bytes, 32 key bytes, CRC-16 little-endian); a public key is
 * base32(1 prefix byte, 32 key bytes, CRC-16), without padding. The curve is Ed25519.
 */
#include "replicator/bus_nats_key.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define KEY_BYTES    32u
#define SEED_BYTES   (2u + KEY_BYTES + 2u)
#define PUBLIC_BYTES (1u + KEY_BYTES + 2u)
#define SEED_CHARS   58u
#define PREFIX_SEED  (18u << 3)
#define PREFIX_USER  (20u << 3)

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static uint16_t crc16(const uint8_t *data, size_t len)
{
    unsigned crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned)data[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 0x8000u) ? (crc << 1) ^ 0x1021u : crc << 1;
        crc &= 0xffffu;
    }
    return (uint16_t)crc;
}

/** False when a character is not of the alphabet. Writes len * 5 / 8 bytes. */
static bool base32_decode(const char *text, size_t len, uint8_t *ret_data)
{
    unsigned bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < len; i++) {
        const char *at = text[i] ? strchr(alphabet, text[i]) : NULL;
        if (!at)
            return false;
        bits = (bits << 5 | (unsigned)(at - alphabet)) & 0xfffu;
        count += 5;
        if (count >= 8) {
            count -= 8;
            *ret_data++ = (uint8_t)(bits >> count);
        }
    }
    return true;
}

static void base32_encode(const uint8_t *data, size_t len, char *ret_text)
{
    unsigned bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < len; i++) {
        bits = (bits << 8 | data[i]) & 0xfffu;
        count += 8;
        while (count >= 5) {
            count -= 5;
            *ret_text++ = alphabet[(bits >> count) & 31u];
        }
    }
    if (count > 0)
        *ret_text++ = alphabet[(bits << (5 - count)) & 31u];
    *ret_text = '\0';
}

static bool parse_seed(const char *line, uint8_t ret_key[KEY_BYTES])
{
    if (strncmp(line, "SU", 2) != 0 || strlen(line) < SEED_CHARS)
        return false;
    uint8_t raw[SEED_BYTES];
    bool valid =
        base32_decode(line, SEED_CHARS, raw) && (raw[0] & 0xf8u) == PREFIX_SEED &&
        crc16(raw, SEED_BYTES - 2) == (uint16_t)(raw[SEED_BYTES - 2] | raw[SEED_BYTES - 1] << 8);
    if (valid)
        memcpy(ret_key, raw + 2, KEY_BYTES);
    OPENSSL_cleanse(raw, sizeof(raw));
    return valid;
}

static bool read_seed(const char *path, uint8_t ret_key[KEY_BYTES])
{
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    char line[256];
    bool found = false;
    while (!found && fgets(line, sizeof(line), file))
        found = parse_seed(line, ret_key);
    (void)fclose(file); /* only read */
    OPENSSL_cleanse(line, sizeof(line));
    return found;
}

enum err nats_key_public(const char *seed_file, char ret_key[NATS_KEY_SIZE])
{
    uint8_t seed[KEY_BYTES];
    if (!read_seed(seed_file, seed))
        return ERR_INVALID;
    uint8_t raw[PUBLIC_BYTES];
    size_t len = KEY_BYTES;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, KEY_BYTES);
    OPENSSL_cleanse(seed, sizeof(seed));
    bool derived = key && EVP_PKEY_get_raw_public_key(key, raw + 1, &len) == 1;
    EVP_PKEY_free(key);
    if (!derived)
        return ERR_INVALID;
    raw[0] = PREFIX_USER;
    uint16_t crc = crc16(raw, PUBLIC_BYTES - 2);
    raw[PUBLIC_BYTES - 2] = (uint8_t)crc;
    raw[PUBLIC_BYTES - 1] = (uint8_t)(crc >> 8);
    base32_encode(raw, PUBLIC_BYTES, ret_key);
    return OK;
}
