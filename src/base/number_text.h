/*
 * number_text.h
 *		Numbers in texts that we have printed ourselves: read back just as they were printed, or not
 *		at all.
 *
 * strtol() and sscanf() take more than that, spaces, signs and zeros in front, and make another
 * number of one that is too large: a node's number would be that of another node.
 */
#ifndef REPLICATION_PLUGIN_NUMBER_TEXT_H
#define REPLICATION_PLUGIN_NUMBER_TEXT_H

/* Value of a digit, -1 if it is none; hexadecimal ones are upper case. */
static inline int
number_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/*
 * Reads a number without sign, of a base up to 16, that is at most most. Moves *p past it; returns
 * false if there is none.
 */
static inline bool
number_read(const char **p, int base, uint64 most, uint64 *value)
{
	const char *c = *p;
	uint64		n = 0;

	for (; number_digit(*c) >= 0 && number_digit(*c) < base; c++)
	{
		int			digit = number_digit(*c);

		if ((n == 0 && c > *p) || n > (most - digit) / base)
			return false;		/* a zero in front, or too large */
		n = n * base + digit;
	}
	if (c == *p)
		return false;
	*value = n;
	*p = c;
	return true;
}

/* Reads an integer of 64 bits. */
static inline bool
number_read_int64(const char **p, int64 *value)
{
	const char *c = *p;
	bool		negative = *c == '-';
	uint64		n;

	c += negative ? 1 : 0;
	if (!number_read(&c, 10, (uint64) PG_INT64_MAX + (negative ? 1 : 0), &n) || (negative && n == 0))
		return false;
	*value = negative ? (int64) (0 - n) : (int64) n;
	*p = c;
	return true;
}

/* Reads a node's number, from 1. */
static inline bool
number_read_node(const char **p, int32 *node)
{
	const char *c = *p;
	uint64		n;

	if (!number_read(&c, 10, PG_INT32_MAX, &n) || n == 0)
		return false;
	*node = (int32) n;
	*p = c;
	return true;
}

#endif							/* REPLICATION_PLUGIN_NUMBER_TEXT_H */
