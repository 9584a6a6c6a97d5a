/*
 * token.c
 *		The text form of tokens.
 */
#include "postgres.h"

#include "port/pg_crc32c.h"

#include "base/number_text.h"
#include "model/token.h"

#define TOKEN_VERSION	1
#define CHECK_DIGITS	8

/* Returns the check of a text. */
static uint32
token_check(const char *text, size_t length)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, text, length);
	FIN_CRC32C(crc);
	return crc;
}

/* Returns true if an entry may follow another one. */
static bool
is_in_order(const TokenEntry *a, const TokenEntry *b)
{
	return a->node < b->node || (a->node == b->node && a->run < b->run);
}

void
token_to_text(const Token *token, char *text)
{
	char	   *p = text + sprintf(text, "%d.", TOKEN_VERSION);

	Assert(token->n >= 0 && token->n <= TOKEN_MAX_ENTRIES);
	for (int i = 0; i < TOKEN_GROUP_BYTES; i++)
		p += sprintf(p, "%02X", token->group[i]);
	for (int i = 0; i < token->n; i++)
	{
		const TokenEntry *e = &token->entries[i];

		Assert(i == 0 || is_in_order(e - 1, e));
		p += sprintf(p, ".%d-%llX", e->node, (unsigned long long) e->lsn.value);
		if (e->run != 0)
			p += sprintf(p, "-" INT64_FORMAT, e->run);
	}
	p += sprintf(p, ".%08X", token_check(text, p - text));
	Assert(p - text < TOKEN_TEXT_SIZE);
}

/* Reads a number with a fixed count of hexadecimal digits. Returns false if there is none. */
static bool
read_digits(const char **p, int count, uint32 *value)
{
	*value = 0;
	for (int i = 0; i < count; i++, (*p)++)
	{
		int			digit = number_digit(**p);

		if (digit < 0)
			return false;
		*value = *value * 16 + digit;
	}
	return true;
}

/* Reads the group. Returns false if it is malformed. */
static bool
read_group(const char **p, uint8 *group)
{
	for (int i = 0; i < TOKEN_GROUP_BYTES; i++)
	{
		uint32		byte;

		if (!read_digits(p, 2, &byte))
			return false;
		group[i] = byte;
	}
	return true;
}

/* Reads an entry. Returns false if it is malformed. */
static bool
read_entry(const char **p, TokenEntry *e)
{
	uint64		run = 0;

	if (!number_read_node(p, &e->node) || *(*p)++ != '-' ||
		!number_read(p, 16, PG_UINT64_MAX, &e->lsn.value) || e->lsn.value == 0)
		return false;
	if (**p == '-')
	{
		(*p)++;
		if (!number_read(p, 10, PG_INT64_MAX, &run) || run == 0)
			return false;
	}
	e->run = run;
	return true;
}

/* Reads what stands between the version and the check. Returns false if it is malformed. */
static bool
read_body(const char *p, const char *end, Token *token)
{
	token->n = 0;
	if (!read_group(&p, token->group))
		return false;
	while (p < end)
	{
		TokenEntry *e = &token->entries[token->n];

		if (*p++ != '.' || token->n == TOKEN_MAX_ENTRIES || !read_entry(&p, e) ||
			(token->n > 0 && !is_in_order(e - 1, e)))
			return false;
		token->n++;
	}
	return p == end;
}

TokenProblem
token_from_text(const char *text, Token *token)
{
	const char *p = text;
	const char *check = strrchr(text, '.');
	uint64		version;
	uint32		sum;
	Token		read;

	if (!number_read(&p, 10, PG_INT32_MAX, &version) || *p++ != '.' || version == 0)
		return TOKEN_MALFORMED;
	if (version > TOKEN_VERSION)
		return TOKEN_NEWER;
	if (check < p || strlen(check + 1) != CHECK_DIGITS || strlen(text) >= TOKEN_TEXT_SIZE ||
		!read_body(p, check, &read))
		return TOKEN_MALFORMED;
	p = check + 1;
	if (!read_digits(&p, CHECK_DIGITS, &sum) || sum != token_check(text, check - text))
		return TOKEN_MALFORMED;
	*token = read;
	return TOKEN_VALID;
}
