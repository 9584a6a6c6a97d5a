/*
 * name_pattern.c
 *		Matches names with patterns that contain stars.
 */
#include "postgres.h"

#include "base/name_pattern.h"

/*
 * Returns true if a name matches a pattern. On a mismatch, only the last star takes one more
 * character: the earlier stars have taken as little as possible, and more would not help. So the
 * work is at most the product of both lengths.
 */
bool
name_pattern_matches(const char *pattern, const char *name)
{
	const char *behind_star = NULL; /* the pattern after the last star, ... */
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
