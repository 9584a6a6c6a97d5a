/*
 * requirement.h
 *		What this server must have so that a database of it can be a member; looked at as long as it
 *		is one.
 */
#ifndef REPLICATION_PLUGIN_REQUIREMENT_H
#define REPLICATION_PLUGIN_REQUIREMENT_H

/* A requirement that is not met: what is wrong, and what to do. */
typedef struct Unmet
{
	const char *problem;
	const char *fix;
} Unmet;

/* Once, when the library is loaded with the server. */
extern void requirement_keep_timestamps(void);

#define CLOCK_FIX	"Set the clock of this server right (NTP): writes are welcome then by themselves. Where the others' are wrong: theirs;" \
	" or raise replication_plugin.max_clock_skew on all nodes, if the difference is to stay."

/* Returns the first requirement that is not met; NULL if all are (palloc'd, or constant). Cheap. */
extern const Unmet *requirement_unmet(void);

/*
 * The same without the clock: these are met by a restart only, and nothing is replicated until
 * then. Constant.
 */
extern const Unmet *requirement_unmet_by_server(void);

/* Raises an error if one is not met. */
extern void requirement_check(void);

#endif							/* REPLICATION_PLUGIN_REQUIREMENT_H */
