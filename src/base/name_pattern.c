/*
 * name_pattern.c
 *		Names with stars.
 */
#include "postgres.h"

#include "base/name_pattern.h"

/*
 * Matches one name. Where a star has to take more than it has, it is always the last one: what the
 * earlier ones took is as little as possible, and more of it would not help. So the work is at most
 * the product of both lengths.
 */
bool
name_pattern_matches(const char *pattern, const char *name)
{
	const char *behind_star = NULL; /* the pattern behind the last star, ... */
	const char *taken = NULL;	/* ... which has taken the name up to here */

	while (*name != '\0')
	{
		const char *p = *pattern == '\\' && pattern[1] != '\0' ? pattern + 1 : pattern;

		if (*pattern == '*')
		{
			behind_star = ++pattern;
			taken = name;
		}
		else if (*p == *name)
		{
			pattern = p + 1;
			name++;
		}
		else if (behind_star)
		{
			pattern = behind_star;
			name = ++taken;
		}
		else
			return false;
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}
