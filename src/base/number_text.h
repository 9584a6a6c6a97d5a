/*
 * number_text.h
 *		Reads numbers in texts that the extension has printed itself: exactly as they were
 *		printed, or not at all.
 *
 * strtol() and sscanf() accept more than that: spaces, signs and leading zeros. They also make
 * another number of one that is too large, so that the number of a node would become that of
 * another node.
 */
#ifndef REPLICATION_PLUGIN_NUMBER_TEXT_H
#define REPLICATION_PLUGIN_NUMBER_TEXT_H

/* Returns the value of a digit; -1 if it is none. Hexadecimal digits are upper case. */
static inline int
number_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/*
 * Reads a number without a sign in a base up to 16, which must be at most most. Moves *p past it.
 * Returns false if there is no such number.
 */
static inline bool
number_read(const char **p, int base, uint64 most, uint64 *value)
{
	const char *c = *p;
	uint64		n = 0;

	Assert(base > 1 && base <= 16 && most >= (uint64) base);
	for (; number_digit(*c) >= 0 && number_digit(*c) < base; c++)
	{
		int			digit = number_digit(*c);

		if ((n == 0 && c > *p) || n > (most - digit) / base)
			return false;		/* a leading zero, or too large */
		n = n * base + digit;
	}
	if (c == *p)
		return false;
	*value = n;
	*p = c;
	return true;
}

/* Reads an integer of 64 bits, likewise. */
static inline bool
number_read_int64(const char **p, int64 *value)
{
	const char *c = *p;
	bool		negative = *c == '-';
	uint64		n;

	c += negative ? 1 : 0;
	if (!number_read(&c, 10, (uint64) PG_INT64_MAX + (negative ? 1 : 0), &n) ||
		(negative && n == 0))
		return false;
	*value = negative ? (int64) (0 - n) : (int64) n;
	*p = c;
	return true;
}

/* Reads the number of a node, from 1, likewise. */
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
