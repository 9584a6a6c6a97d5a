/*
 * requirement.h
 *		The requirements that a server must meet so that a database of it can be a member. They
 *		are checked as long as the database is one.
 */
#ifndef REPLICATION_PLUGIN_REQUIREMENT_H
#define REPLICATION_PLUGIN_REQUIREMENT_H

/* A requirement that is not met: the problem, and what to do about it. */
typedef struct Unmet
{
	const char *problem;
	const char *fix;
} Unmet;

/*
 * Keeps commit timestamps although they are turned off, if a database is a member. Called once,
 * when the library is loaded at server start.
 */
extern void requirement_keep_timestamps(void);

#define CLOCK_FIX	"Set the clock of this server right (NTP): writes are welcome then by themselves. Where the others' are wrong: theirs;" \
	" or raise replication_plugin.max_clock_skew on all nodes, if the difference is to stay."

/*
 * Returns the first requirement that is not met, palloc'd or constant; NULL if all are met. Cheap.
 */
extern const Unmet *requirement_unmet(void);

/*
 * Returns the first requirement other than the clock that is not met, constant; NULL if all are
 * met. Only a restart of the server can meet these, and nothing is replicated until then.
 */
extern const Unmet *requirement_unmet_by_server(void);

/* Raises an error unless all requirements are met. */
extern void requirement_check(void);

#endif							/* REPLICATION_PLUGIN_REQUIREMENT_H */
